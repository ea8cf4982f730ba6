"""What all calls of the client stand on."""

from __future__ import annotations

import asyncio

from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.endpoints import Endpoint, Rep, Req
from skybus.client.status import Condition, StatusWatch, condition

TIMEOUT = 15.0
"""Seconds that a service has for a request."""


class Calls:
    """A connection, any endpoint of it, and its status."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._watch = StatusWatch(bus)

    async def call(
        self,
        endpoint: Endpoint[Req, Rep],
        request: Req,
        *,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - the deadline of the request
    ) -> Rep:
        """Call an endpoint.

        Raises:
            SkybusError: what the service says.
        """
        return await self.bus.call(endpoint, request, timeout=timeout)

    async def status(self) -> Status:
        """Ask for the status."""
        return await self._watch.now()

    async def wait(self, wanted: str | Condition, timeout: float | None = None) -> Status:  # noqa: ASYNC109
        """Wait for a status, pushed by the queue service: a name of `status.CONDITIONS`, or a function of a status.

        Raises:
            TimeoutError: it did not come within `timeout` seconds.
        """
        fulfilled = condition(wanted)
        try:
            async with asyncio.timeout(timeout):
                return await self._watch.wait(fulfilled)
        except TimeoutError:
            what = repr(wanted) if isinstance(wanted, str) else "the state waited for"
            raise TimeoutError(f"{what} was not reached within {timeout:g} s") from None
