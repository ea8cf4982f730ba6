"""Memory that is free goes back to the system: the C library keeps free pages that lie between blocks in use."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

EVERY = 20.0
"""Seconds."""


async def return_freed_memory() -> None:
    """Give free pages back from time to time, in another thread, until cancelled."""
    trim = _trim()
    while trim:
        await asyncio.sleep(EVERY)
        await asyncio.to_thread(trim, 0)


def _trim() -> Callable[[int], int] | None:
    """`malloc_trim` of glibc; other C libraries have none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
