"""On a cluster, the copy of a stream that answers may be a moment behind the one that has stored a message.

Nothing tells when it has caught up, so one looks again, for as long as that may take.
"""

from __future__ import annotations

import asyncio
import time

_BEHIND, _LOOK_AGAIN = 3.0, 0.02
"""Seconds that a copy has to catch up, less than requests have; between looks."""


class Looks:
    """Times to look at a copy: at once, and then until it must have caught up."""

    def __init__(self, patience: float | None = None) -> None:
        self._patience = _BEHIND if patience is None else patience
        self._deadline: float | None = None

    def __aiter__(self) -> Looks:
        return self

    async def __anext__(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._patience
            return
        if time.monotonic() > self._deadline:
            raise StopAsyncIteration
        await asyncio.sleep(_LOOK_AGAIN)
