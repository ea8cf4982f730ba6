"""Startup code that uses `__main__` as the field does."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import enum
import logging
import multiprocessing
import os
import pickle
import sys
import typing
from pathlib import Path

import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.utils import MsgGenerator
from ophyd.sim import SynAxis
from ophyd_async.core import SignalRW, StandardReadable, soft_signal_rw

RE = RunEngine({})
ROOT_HANDLERS = list(logging.getLogger().handlers)
LOG = Path(os.environ["SKYBUS_DATA_DIR"]) / "user.log"
logging.basicConfig(level=logging.INFO, filename=LOG, format="%(message)s")
with (LOG.with_name("loads")).open("a") as loads:
    loads.write(f"{os.getpid()}\n")

setattr(sys.modules["__main__"], "table_x", SynAxis(name="table_x"))  # noqa: B010 - as libraries do


class Mode(enum.Enum):
    """Pickled by reference."""

    FAST = 1


@dataclasses.dataclass
class Position:
    """Pickled as an instance."""

    x: float


class Stage:
    """Its hints are text."""

    home: Position


class Declared(StandardReadable):
    """A declarative device, whose hints are text."""

    other: SignalRW[int]

    def __init__(self, name: str) -> None:
        self.other = soft_signal_rw(int)
        super().__init__(name)


declared = Declared("declared")


def square(number: float) -> float:
    """Run in another process."""
    return number * number


def moved(position: Position) -> Position:
    """Likewise, with classes of our own."""
    return Position(position.x + 1)


def file_in_plan() -> MsgGenerator:
    """Ask for the own file while it runs."""
    yield from bps.null()
    return __file__


def squares_in_plan(method: str) -> MsgGenerator:
    """Use a pool."""
    yield from bps.null()
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        return list(pool.map(square, [1, 2]))


def pool_in_plan(method: str) -> MsgGenerator:
    """Use the other sort of pool, which waits for ever when its workers die."""
    yield from bps.null()
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(square, [1, 2])


def unwritable() -> MsgGenerator:
    """Raise what Python fails to write: the offset of the error is text."""
    yield from bps.null()
    raise SyntaxError("bad macro", ("macro.txt", 3, "5", "mv x 3"))


def in_other_process() -> list[object]:
    """Send classes of the startup code there and back."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return [pool.submit(moved, Position(1)).result().x, pickle.loads(pickle.dumps(Mode.FAST)) is Mode.FAST]


def hints() -> list[str]:
    """Resolve hints that are text."""
    return [*map(str, typing.get_type_hints(Stage).values()), str(typing.get_type_hints(Declared)["other"])]


def library_call(method: str) -> float:
    """Call a library function in a process that has no startup code."""
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(abs, (-3,))


def log_line(text: str) -> str:
    """Use `logging` as the startup code has set it up."""
    logging.getLogger("beamline").info(text)
    return LOG.read_text()


def loads() -> int:
    """How often this file was run, in any process."""
    return len(LOG.with_name("loads").read_text().splitlines())


def root_handlers() -> list[str]:
    """What was at the root logger before the startup code."""
    return list(map(repr, ROOT_HANDLERS))
