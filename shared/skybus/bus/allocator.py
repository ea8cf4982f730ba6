"""Memory that a service no longer needs goes back to the system.

The GNU C library raises the size from which it maps a buffer on its own with each such buffer that is freed, to 32 MB.
Below that size buffers come from heaps, one for each thread, and a heap keeps what was freed. So a single body of 64 MB
that a thread unpacks leaves a service larger for good (seen: 124 MB instead of 54).
"""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 20
"""Bytes; a buffer of this size is mapped in some microseconds, and cleared by the system in 0.1 ms."""


def return_large_buffers() -> None:
    """Map each large buffer on its own, with the C library of GNU; others have their own ways."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE)
