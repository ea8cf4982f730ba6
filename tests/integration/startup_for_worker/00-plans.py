"""Plans that behave well and badly."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.plans import count  # noqa: F401
from bluesky.utils import MsgGenerator
from ophyd import SoftPositioner
from ophyd.sim import det  # noqa: F401  # pyright: ignore[reportAttributeAccessIssue]
from ophyd.status import MoveStatus

RE = RunEngine({})


class SlowAxis(SoftPositioner):
    """Moves in ten steps."""

    def _setup_move(self, position: float, status: MoveStatus) -> None:
        start = self.position or 0.0

        def move() -> None:
            for step in range(1, 11):
                time.sleep(0.04)
                self._set_position(start + (position - start) * step / 10)
            self._reset_sub(self._SUB_REQ_DONE)  # `_done_moving` does so last, and forgets a move that has begun since
            status.set_finished()

        threading.Thread(target=move).start()


axis = SlowAxis(name="axis", egu="mm")


def talk() -> MsgGenerator:
    """Write in four ways, in this order."""
    print("one")
    os.write(1, b"two\n")
    print("three", file=sys.stderr)
    os.system("echo four")
    yield from bps.null()


def say(text: str, number: int = 1) -> MsgGenerator:
    """Print lines."""
    for n in range(number):
        print(f"{text} {n}")
    yield from bps.null()


def steps(number: int, delay: float = 0.02) -> MsgGenerator:
    """Print numbers slowly, with checkpoints."""
    for n in range(number):
        yield from bps.checkpoint()
        print(f"step {n}")
        yield from bps.sleep(delay)
    return number


def runs_in_a_row(number: int) -> MsgGenerator:
    """Open and close runs, and stay a while with all of them closed."""
    for _ in range(number):
        yield from bps.open_run()
        yield from bps.close_run()
    yield from bps.sleep(0.5)


def move_twice() -> MsgGenerator:
    """Move the slow axis."""
    yield from bps.mv(axis, 1.0)  # from nowhere: it does not know yet where it is
    yield from bps.mv(axis, 3.0)


def until_opened(gate: str) -> MsgGenerator:
    """Wait until somebody opens a FIFO for writing, and closes it."""
    yield from bps.wait_for([lambda: asyncio.to_thread(Path(gate).read_bytes)])


def past_checkpoint(gate: str) -> MsgGenerator:
    """Have one checkpoint, at the beginning, and go on when the gate is opened."""
    yield from bps.checkpoint()
    yield from bps.null()
    print("past the checkpoint")
    yield from until_opened(gate)


def long_past_checkpoint() -> MsgGenerator:
    """Have one checkpoint, at the beginning."""
    yield from bps.checkpoint()
    yield from bps.null()
    print("past the checkpoint")
    yield from bps.sleep(20)


def no_checkpoint() -> MsgGenerator:
    """Be impossible to pause."""
    yield from bps.clear_checkpoint()
    print("no way back")
    yield from bps.sleep(10)


def big_run(megabytes: int) -> MsgGenerator:
    """Open a run with a start document that is larger than a message may be."""
    yield from bps.open_run({"text": "sky " * (megabytes << 18)})
    yield from bps.close_run()


def leave(how: str) -> MsgGenerator:
    """Try to end the process."""
    yield from bps.null()
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "base": BaseException}[how]("bye")


def surrogate() -> MsgGenerator:
    """Fail with a text that is no Unicode."""
    yield from bps.null()
    raise RuntimeError("half a character: \udcff")


class BadDevice:
    """Ends the thread of the RunEngine."""

    name = "bad"
    parent = None

    def trigger(self):
        raise SystemExit("from a device")


def leave_by_device() -> MsgGenerator:
    """Let a device try it."""
    yield from bps.trigger(BadDevice())


def break_engine() -> MsgGenerator:
    """Leave a RunEngine that cannot be asked, and a thread that keeps a process whose main thread ends."""
    threading.Thread(target=threading.Event().wait).start()
    yield from bps.null()
    type(RE).deferred_pause_requested = property(lambda _: 1 / 0)  # pyright: ignore[reportAttributeAccessIssue]


def die(gate: str) -> MsgGenerator:
    """End the process when the gate is opened."""
    print("last words")
    yield from until_opened(gate)
    os._exit(3)


def returns_numbers() -> MsgGenerator:
    """Return something that JSON has."""
    yield from bps.null()
    return {"a": [1, 2.5]}


def add(a: float, b: float) -> float:
    """Be a function."""
    print(f"adding {a} and {b}")
    return a + b


def give(kind: str) -> object:
    """Return what a report can carry with difficulty, or not at all."""
    return {"set": {1}, "large": "x" * (4 << 20), "half": "\udcff"}[kind]


WAITING = threading.Event()


def wait(seconds: float = 30) -> str:
    """Keep the thread until somebody calls `release`."""
    print("waiting")
    WAITING.clear()
    return "released" if WAITING.wait(seconds) else "late"


def release() -> None:
    """Let `wait` go on."""
    WAITING.set()
