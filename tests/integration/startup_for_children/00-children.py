"""Plans and functions that make children."""

import asyncio
import os
import signal
import sys

import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.utils import MsgGenerator
from kinds_of_children import KINDS, end_at_once, faults, hold_for  # noqa: F401

RE = RunEngine({})
AT_START = {kind: faults(kind) for kind in KINDS if "CHILDREN_AT_START" in os.environ}


def at_start(kind: str) -> list[str]:
    """What a child that the startup code has made has inherited."""
    return AT_START[kind]


def faults_in_plan(kind: str) -> MsgGenerator:
    """Make a child in a plan."""
    yield from bps.null()
    return faults(kind)


def end_in_plan(kind: str, number: int) -> MsgGenerator:
    """End a child in a plan."""
    yield from bps.null()
    return end_at_once(kind, number)


def leave(how: str) -> None:
    """End a forked child in one way or another."""
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise ValueError("in the child")


def fork_in_plan(how: str) -> MsgGenerator:
    """Fork a child that comes back to our code."""
    yield from bps.open_run()
    if (pid := os.fork()) == 0:
        leave(how)
        if how == "go on":
            yield from bps.null()
        return 99
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    yield from bps.close_run()
    return code


def fork_in_function(how: str) -> int:
    """Likewise."""
    if (pid := os.fork()) == 0:
        leave(how)
        return 99
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ignore_sigterm() -> None:
    """Set what is user code's to set."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def sigterm_is_ignored() -> MsgGenerator:
    """Tell whether it stays set."""
    yield from bps.null()
    return signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def run_event_loop() -> None:
    """Run an event loop that handles signals, and takes the wake-up descriptor along when it ends."""

    async def handle() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(handle())


def busy() -> MsgGenerator:
    """Go on until it is ended."""
    print("busy")
    for _ in range(3000):
        yield from bps.checkpoint()
        yield from bps.sleep(0.02)
