"""Waiting for a service that is just being started: each says when it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nats.aio.msg import Msg

from skybus.bus.api.events import ServiceStarted
from skybus.bus.connection import Bus
from skybus.bus.errors import NobodyThereError
from skybus.bus.provenance import is_event
from skybus.bus.version import VERSION

PATIENCE = 2.0
"""Seconds; a service that has died is back in about one."""
_TOPIC = "service"

T = TypeVar("T")


async def say_here(bus: Bus, name: str) -> None:
    """Tell everybody that a service is there."""
    await bus.publish(bus.subjects.event(f"{_TOPIC}.{name}"), ServiceStarted(name=name, version=VERSION))


class Arrivals:
    """Knows when services come onto the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._next = asyncio.Event()

    async def watch(self) -> None:
        """Begin to listen."""
        await self._bus.subscribe(self._bus.subjects.event(f"{_TOPIC}.*"), self._on_arrival)

    async def when_there(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request, and if nobody is there to get it, once more whenever a service has come.

        Raises:
            NobodyThereError: the right one did not come in time.
        """
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            arrival = self._next
            try:
                return await request()
            except NobodyThereError as nobody:
                try:
                    async with asyncio.timeout_at(end):
                        await arrival.wait()
                except TimeoutError:
                    raise nobody from None

    async def _on_arrival(self, message: Msg) -> None:
        if is_event(self._bus.subjects, message):
            self._next.set()
            self._next = asyncio.Event()
