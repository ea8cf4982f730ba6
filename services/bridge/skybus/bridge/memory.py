"""The memory of the bridge: what 0MQ holds of messages that have not come to their end, nothing else bounds.

A client may send the frames of one message without end. 0MQ hands out a message when its last frame has come, and has
no limit for those before it. So the process has one (RLIMIT_DATA). Beyond it 0MQ ends the connection whose frame finds
no memory, and frees what has come over it. If the frames are tiny it aborts with "FATAL ERROR: OUT OF MEMORY", and the
bridge is started again. If the frames stay below the limit and no more come, the bridge ends by itself.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Callable
from pathlib import Path

import structlog

from skybus.bus.errors import SkybusError
from skybus.bus.freed_memory import trim

log = structlog.get_logger()

IDLE = 120 << 20
"""Bytes of memory that an idle bridge has at the most beyond those that it has at its start."""
_LOOK_EVERY = 5.0
_LOOKS = 6
"""So often a bridge that is idle has too much memory before it ends."""
_MUCH = 8 << 20
"""Bytes of memory that are worth the time, milliseconds, that it takes to give them back."""
_TRIES = 2
_FEW = 1 << 20
"""Bytes in flight with which the bridge is idle."""
_STATM = Path("/proc/self/statm")


def limit_memory(most: int) -> None:
    """Limit the memory of this process to `most` bytes; a lower limit stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (lower, lower))


async def watch_memory(in_flight: Callable[[], int], most: int = IDLE, look_every: float = _LOOK_EVERY) -> None:
    """Give memory back whenever the bridge is idle.

    Raises:
        SkybusError: 0MQ does not give its own back: only the end of the process frees it.
    """
    looks, begin, giving = 0, resident(), _Giving()
    while True:
        await asyncio.sleep(look_every)
        is_idle = in_flight() <= _FEW
        if is_idle and resident() > begin + _MUCH:
            giving.give_back()
        looks = looks + 1 if is_idle and resident() > begin + most else 0
        if looks >= _LOOKS:
            raise SkybusError(
                f"the bridge has nothing to do and {resident():,} bytes of memory, since a 0MQ client does not finish "
                "a message: it ends, to be started again"
            )


class _Giving:
    """Gives memory back, unless that was in vain and nothing has been taken since."""

    def __init__(self) -> None:
        self._kept = self._vain = 0

    def give_back(self) -> None:
        """Free what only the garbage collector finds, such as refused requests, and what the C library keeps."""
        before = resident()
        if before > self._kept + _MUCH:
            self._vain = 0
        if self._vain < _TRIES:
            gc.collect()
            trim()
            self._kept = resident()
            self._vain = 0 if self._kept < before - _FEW else self._vain + 1


def resident() -> int:
    """Bytes of this process that are in memory; zero where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
