"""Plans that harm the environment in which they run."""

import asyncio
import ctypes
import os
import resource
import signal

import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.plans import count
from bluesky.utils import Msg, MsgGenerator
from ophyd.sim import det  # pyright: ignore[reportAttributeAccessIssue]

RE = RunEngine({})
HOARD: list[bytearray] = []


def kill() -> MsgGenerator:
    """Be killed."""
    yield from _last_words()
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_a_run() -> MsgGenerator:
    """Be killed as soon as the second run is open."""
    yield from count([det])
    yield Msg("open_run")
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> MsgGenerator:
    """Read where there is no memory."""
    yield from _last_words()
    ctypes.string_at(0)


def leave() -> MsgGenerator:
    """End the process."""
    yield from _last_words()
    os._exit(3)


def ask_for_too_much() -> MsgGenerator:
    """Want more memory than there is."""
    yield from _last_words()
    bytearray(1 << 60)


def hoard() -> MsgGenerator:
    """Take all the memory that the process may have, and keep it."""
    yield from _last_words()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115, PTH123
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))
    size = 1 << 24
    while size:
        try:
            HOARD.append(bytearray(size))
        except MemoryError:
            size >>= 1


def spin() -> MsgGenerator:
    """Block the loop of the RunEngine."""
    yield from _last_words()
    while True:
        pass


def sleep_in_c() -> MsgGenerator:
    """Hold the interpreter's lock."""
    yield from _last_words()
    ctypes.PyDLL(None).sleep(3600)


def steps() -> MsgGenerator:
    """Have a checkpoint now and then."""
    yield from _last_words()
    while True:
        yield from bps.checkpoint()
        yield from bps.sleep(0.05)


def long_wait() -> MsgGenerator:
    """Come to no further checkpoint."""
    yield from bps.checkpoint()
    yield from _last_words()
    yield from bps.sleep(3600)


def long_clean_up() -> MsgGenerator:
    """Take long to end."""
    try:
        yield from long_wait()
    finally:
        yield from bps.sleep(3600)


class NeverResting:
    """A device that does not come to rest when the plan is to pause."""

    name = "never_resting"
    parent = None

    async def pause(self) -> None:
        await asyncio.Event().wait()

    def resume(self) -> None:
        pass


def never_paused() -> MsgGenerator:
    """Use such a device."""
    yield Msg("null", NeverResting())
    yield from steps()


def _last_words() -> MsgGenerator:
    print("last words")
    yield from bps.sleep(0.3)  # until they are sent: some plans let nothing out of the process any more
