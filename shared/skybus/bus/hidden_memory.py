"""Keeps other processes of the same account out of the memory of a process that holds keys."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Let nobody but root trace this process, or read its memory, its environment and its open files (Linux only).

    The kernel undoes it when another program is executed, so environments, which user code owns, are as any process.
    There are no core dumps either.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
