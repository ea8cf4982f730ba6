"""How late an event loop runs what is due, measured on the loop, and what keeps it, seen by a thread beside it."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import FrameType

import structlog

log = structlog.get_logger()

EVERY = 0.1
"""Seconds between measurements."""
LATE = 0.25
"""Seconds of a delay that is logged."""
REMEMBERED = 60.0
"""Seconds for which the largest delay is reported."""
DEEPEST = 12
"""Calls that the log shows of what the loop was doing."""


class LoopDelay:
    """Measures the delay of one event loop while it is `run` there."""

    def __init__(self) -> None:
        self._due = math.inf
        """When the loop is to run next, by the monotonic clock."""
        self._doing = ""
        self._delays: deque[tuple[float, float]] = deque()
        """When each was measured, and its seconds, without those that a later one exceeds: the first is the largest."""

    def largest(self) -> float:
        """The largest delay of the last minute, in seconds; a loop that is late at this moment does not count yet."""
        self._forget()
        return self._delays[0][1] if self._delays else 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        ends = threading.Event()
        beside = threading.Thread(target=self._look, args=(threading.get_ident(), ends), name="loop delay", daemon=True)
        beside.start()
        try:
            while True:
                self._due = time.monotonic() + EVERY
                await asyncio.sleep(EVERY)
                self._measured(max(time.monotonic() - self._due, 0.0))
        finally:
            self._due = math.inf
            ends.set()
            beside.join()

    def _measured(self, delay: float) -> None:
        while self._delays and self._delays[-1][1] <= delay:
            self._delays.pop()
        self._delays.append((time.monotonic(), delay))
        self._forget()
        if delay > LATE:
            doing = self._doing or "unknown: no other thread of this process ran meanwhile either"
            log.warning("the event loop was late", seconds=round(delay, 3), doing=doing)
        self._doing = ""

    def _forget(self) -> None:
        while self._delays and self._delays[0][0] < time.monotonic() - REMEMBERED:
            self._delays.popleft()

    def _look(self, loop_thread: int, ends: threading.Event) -> None:
        """Note what the loop's thread does once it is late."""
        wait = EVERY
        while not ends.wait(wait):
            left = self._due + LATE - time.monotonic()
            if left <= 0 and not self._doing:
                self._doing = _calls(sys._current_frames().get(loop_thread))
            wait = min(left, EVERY + LATE) if left > 0 else EVERY


def _calls(frame: FrameType | None) -> str:
    """The calls that a thread is in, the innermost first."""
    calls: list[str] = []
    while frame is not None and len(calls) < DEEPEST:
        calls.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(calls)
