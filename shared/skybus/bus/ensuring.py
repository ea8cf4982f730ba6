"""What a service needs in JetStream is there before it is ready, and is seen to again on each new connection.

A cluster that has lost a server takes seconds to choose who decides about streams. What was there is there all the
same, so then the service answers meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.client import Client as Connection
from nats.js import JetStreamContext

from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError, why

log = structlog.get_logger()

_PATIENCE = 0.5
"""Seconds that a new connection waits for what was there before; a server alone answers in a few milliseconds."""
_AGAIN = 1.0
"""Seconds until it is asked again."""

Ensure = Callable[[JetStreamContext], Awaitable[None]]


class Ensured:
    """Streams and buckets of a service.

    Args:
        ensure: makes what is not there.
    """

    def __init__(self, bus: Bus, ensure: Ensure) -> None:
        self._ensure = ensure
        self._was_there = False
        self._seeing_to: asyncio.Task[None] | None = None
        bus.on_connect.append(self._on_connect)
        bus.on_disconnect.append(self._on_disconnect)

    async def _on_connect(self, connection: Connection) -> None:
        if not self._was_there:
            await self._ensure(connection.jetstream())
            self._was_there = True
            return
        self._seeing_to = asyncio.create_task(self._see_to(connection))
        await asyncio.wait({self._seeing_to}, timeout=_PATIENCE)

    def _on_disconnect(self) -> None:
        if self._seeing_to:
            self._seeing_to.cancel()

    async def _see_to(self, connection: Connection) -> None:
        while not connection.is_closed:
            try:
                await self._ensure(connection.jetstream())
            except (nats.errors.Error, OSError, UnavailableError) as error:
                log.warning("streams could not be seen to yet", reason=why(error))
                await asyncio.sleep(_AGAIN)
            else:
                return
