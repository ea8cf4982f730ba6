"""How far the running plan is, told a few times a second.

Events are counted against what the start document promises; what the plan waits for says itself how far it is.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from skybus.bus.api.engine import Suspended
from skybus.bus.api.progress import PlanProgress
from skybus.worker.environment.waiting import Waiting

PAUSE = 0.1
"""Seconds between two messages at the least."""
STREAM = "primary"

Publish = Callable[[PlanProgress], None]


class ProgressMeter:
    """Measures an attempt; `take` and `wait_for` are called by the RunEngine in its own thread."""

    def __init__(self, item_uid: str, loop: asyncio.AbstractEventLoop, publish: Publish) -> None:
        self._item_uid = item_uid
        self._loop = loop
        self._publish = publish
        self._run_uid = ""
        self._planned: int | None = None
        self._done = 0
        self._descriptors: set[str] = set()
        self._waiting = Waiting(self._tell)
        self._last = PlanProgress(item_uid=item_uid)
        self._suspended: Suspended | None = None
        self._is_told = False
        self._timer: asyncio.TimerHandle | None = None

    def take(self, name: str, document: Mapping[str, Any]) -> None:
        """Learn from a document."""
        if name == "start":
            self._run_uid, self._planned, self._done = str(document["uid"]), planned_points(document), 0
        elif name == "descriptor" and document.get("name") == STREAM:
            self._descriptors.add(document["uid"])
        elif name == "event" and document["descriptor"] in self._descriptors:
            self._done = int(document["seq_num"])  # after a pause it goes back to the last checkpoint
        elif name == "event_page" and document["descriptor"] in self._descriptors:
            self._done = int(max(document["seq_num"], default=self._done))
        else:
            return
        self._tell()

    def wait_for(self, statuses: Collection[Any] | None) -> None:
        """Follow what the plan waits for; nothing when it has come."""
        self._waiting.begin(statuses)

    def suspend(self, suspended: Suspended | None) -> None:
        """Publish what holds the plan; called in the asyncio thread."""
        self._suspended = suspended
        self._tell()

    def finish(self) -> None:
        """Tell the last count; called in the asyncio thread."""
        if self._timer:
            self._timer.cancel()
        self._waiting.begin(None)
        self._suspended = None
        self._send()

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._tell_and_pause)

    def _tell_and_pause(self) -> None:
        self._is_told = False  # before the count is read: an event that comes meanwhile tells again
        if self._send():
            self._is_told = True
            self._timer = self._loop.call_later(PAUSE, self._tell_and_pause)

    def _send(self) -> bool:
        progress = PlanProgress(
            item_uid=self._item_uid,
            run_uid=self._run_uid,
            done=self._done,
            planned=self._planned,
            fraction=min(self._done / self._planned, 1.0) if self._planned else None,
            moves=self._waiting.moves,
            suspended=self._suspended,
        )
        if progress == self._last:
            return False
        self._last = progress
        self._publish(progress)
        return True


def planned_points(start: Mapping[str, Any]) -> int | None:
    """The number of points that a run will have, if its start document says so."""
    points = start.get("num_points")
    if isinstance(points, int) and points > 0:
        return points
    shape = start.get("shape")
    if isinstance(shape, list | tuple) and shape and all(isinstance(n, int) and n > 0 for n in shape):
        return math.prod(shape)
    return None
