"""Tells the world of changes: events in order, then the newest status; nothing waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import nats.errors
import structlog

from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, why
from skybus.bus.messages import Message, encode

log = structlog.get_logger()

KEPT_EVENTS = 10_000
KEPT_TOPICS = ("environment",)
"""Topics whose last event is left for late joiners at once; the status, which changes often, is left by `keep`."""
PACE = 0.01
"""Seconds from one status to the next, in a burst of changes: they are told together, to everybody who follows."""
AT_ONCE = 10
"""Statuses that follow each other without that: who waits for the next state is told when it is reached."""
KEEP_AFTER = 0.1
"""Seconds until a status is left for late joiners: a change seldom comes alone."""


class Publisher:
    """Publishes in a task of its own.

    Args:
        make_status: makes the status of now.
        tell_witness: leaves how far the book is.
    """

    def __init__(
        self, bus: Bus, make_status: Callable[[], Status], tell_witness: Callable[[], Awaitable[None]]
    ) -> None:
        self._bus = bus
        self._make_status = make_status
        self._tell_witness = tell_witness
        self._wake = asyncio.Event()
        self._is_told = True
        """Whether the last status that was published is the newest."""
        self._due = 0.0
        """When the next one may be published, by the event loop's clock."""
        self._events: deque[tuple[str, Message]] = deque(maxlen=KEPT_EVENTS)
        self._newest: Status | None = None
        self._must_keep = asyncio.Event()

    def status_changed(self) -> None:
        """The status is not what it was."""
        self._is_told = False
        self._wake.set()

    def event(self, topic: str, message: Message) -> None:
        """Send an event before the next status."""
        self._events.append((topic, message))
        self.status_changed()

    async def run(self) -> None:
        """Publish until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._until_due()
            await self._bus.wait_connected()
            while self._events:
                await self._tell(*self._events.popleft())
            if not self._is_told and loop.time() >= self._due:
                # the generic cell rate algorithm (ITU-T I.371), with AT_ONCE as its tolerance
                self._due = max(self._due, loop.time() - AT_ONCE * PACE) + PACE
                await self._publish_status()

    async def _until_due(self) -> None:
        """Wait for something to tell: an event at once, a status that has waited for its time."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(None if self._is_told else self._due):
                await self._wake.wait()
        self._wake.clear()

    async def keep(self) -> None:
        """Leave the newest status in the bucket where a late joiner reads it, until cancelled."""
        subject = self._bus.subjects.kept("status")
        while True:
            await self._must_keep.wait()
            await asyncio.sleep(KEEP_AFTER)
            self._must_keep.clear()
            await self._bus.wait_connected()
            try:
                await self._tell_witness()
                if self._newest:
                    await self._bus.connection.publish(subject, encode(self._newest))
            except (SkybusError, nats.errors.Error, OSError) as error:
                log.warning("the status could not be kept", error=str(error))

    async def _publish_status(self) -> None:
        try:
            self._is_told, self._newest = True, self._make_status()
            self._must_keep.set()
            await self._bus.publish(self._bus.subjects.event("status"), self._newest)
        except (SkybusError, nats.errors.Error, OSError) as error:
            log.warning("the status could not be published", error=why(error))

    async def _tell(self, topic: str, message: Message) -> None:
        """Send an event; one that cannot be sent, being too large for example, holds up nothing else."""
        try:
            await self._bus.publish(self._bus.subjects.event(topic), message)
            if topic in KEPT_TOPICS:
                await self._bus.connection.publish(self._bus.subjects.kept(topic), encode(message))
        except (SkybusError, nats.errors.Error, OSError) as error:
            log.warning("an event could not be published", topic=topic, error=why(error))
