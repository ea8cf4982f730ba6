"""Tells the world of changes: events in order, then the newest status; nothing waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

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
        self._events: deque[tuple[str, Message]] = deque(maxlen=KEPT_EVENTS)
        self._newest: Status | None = None
        self._must_keep = asyncio.Event()

    def status_changed(self) -> None:
        """The status is not what it was."""
        self._wake.set()

    def event(self, topic: str, message: Message) -> None:
        """Send an event before the next status."""
        self._events.append((topic, message))
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._bus.wait_connected()
            try:
                await self._publish()
            except (SkybusError, nats.errors.Error, OSError) as error:
                log.warning("the status could not be published", error=why(error))

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

    async def _publish(self) -> None:
        while self._events:
            await self._tell(*self._events.popleft())
        self._newest = self._make_status()
        self._must_keep.set()
        await self._bus.publish(self._bus.subjects.event("status"), self._newest)

    async def _tell(self, topic: str, message: Message) -> None:
        """Send an event; one that cannot be sent, being too large for example, holds up nothing else."""
        try:
            await self._bus.publish(self._bus.subjects.event(topic), message)
            if topic in KEPT_TOPICS:
                await self._bus.connection.publish(self._bus.subjects.kept(topic), encode(message))
        except (SkybusError, nats.errors.Error, OSError) as error:
            log.warning("an event could not be published", topic=topic, error=why(error))
