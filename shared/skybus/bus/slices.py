"""Long work on the event loop in slices, between which other tasks run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

AT_ONCE = 200
"""Values in a slice: of items of a queue some milliseconds."""

A = TypeVar("A")
B = TypeVar("B")


async def in_slices(work: Callable[[A], B], values: Iterable[A]) -> list[B]:
    """Do the same with each of many values, and return what comes of each."""
    done: list[B] = []
    for value in values:
        done.append(work(value))
        if len(done) % AT_ONCE == 0:
            await asyncio.sleep(0)
    return done
