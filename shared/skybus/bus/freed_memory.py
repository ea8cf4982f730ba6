"""Memory that a service no longer needs goes back to the system, with the GNU C library; others have their own ways.

That library keeps free pages that lie between blocks in use. And it raises the size from which it maps a buffer on its
own with each such buffer that is freed, to 32 MB. Below that size buffers come from heaps, one for each thread, and a
heap keeps what was freed. So a single body of 64 MB that a thread unpacks leaves a service larger for good (124 MB
instead of 54).
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

EVERY = 20.0
"""Seconds between two times that free pages are given back."""
_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 20
"""Bytes; a buffer of this size is mapped in some microseconds, and cleared by the system in 0.1 ms."""


def map_large_buffers() -> None:
    """Map each large buffer on its own from now on, so that it goes back when it is freed."""
    if mallopt := _c_function("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


async def return_freed_memory() -> None:
    """Give free pages back from time to time, in another thread, until cancelled."""
    while True:
        await asyncio.sleep(EVERY)
        await asyncio.to_thread(trim)


def trim() -> None:
    """Give free pages back now."""
    if malloc_trim := _c_function("malloc_trim"):
        malloc_trim(0)


def _c_function(name: str) -> Callable[..., int] | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except OSError:
        return None
