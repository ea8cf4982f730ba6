"""What all calls of the client stand on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.endpoints import Endpoint, Rep, Req
from skybus.client.retries import answered
from skybus.client.settings import ClientSettings
from skybus.client.status import Condition, StatusWatch, condition


class Calls:
    """A connection, any endpoint of it, and its status."""

    def __init__(self, bus: Bus, settings: ClientSettings) -> None:
        self.bus = bus
        self.settings = settings
        self.tell_waiting: Callable[[str], None] = lambda _: None
        """Told why a request waits, each time before it is sent again."""
        self._watch = StatusWatch(bus)

    async def call(
        self,
        endpoint: Endpoint[Req, Rep],
        request: Req,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline of the request
        request_id: str | None = None,
    ) -> Rep:
        """Call an endpoint, again and again until it is answered or its time is over; it is done once.

        Args:
            endpoint: what is called.
            request: what it is told.
            timeout: seconds; by default those of the settings. A request of megabytes gets more.
            request_id: that of a request which was given up: it is not done a second time.

        Raises:
            GaveUpError: there was no answer in time; it says whether the request may have been carried out.
            SkybusError: what the service says.
        """
        seconds = timeout or self.settings.request_timeout
        known_as = request_id or uuid.uuid4().hex
        return await answered(self.bus, endpoint, request, seconds, known_as, self.tell_waiting)

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
