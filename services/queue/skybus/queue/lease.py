"""Which queue service leads, if there are several for one instrument (docs/decisions/0011)."""

from __future__ import annotations

import asyncio
import math
import time

import structlog

from skybus.bus.errors import UnavailableError
from skybus.bus.runtime import tell_ready
from skybus.queue.store import Store

log = structlog.get_logger()

LASTS = 1.0
"""Seconds that a lease lasts if it is not renewed."""
RENEW, LOOK, TICK = 0.3, 0.1, 0.2
"""Seconds: between renewals, between looks whether it is free, between looks at the clock."""


class Lease:
    """The right to be the queue service, held under a name."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._ticked = math.inf
        """When the event loop was seen to run, by the monotonic clock."""
        self._is_sure = asyncio.Event()
        self._is_sure.set()

    async def take(self) -> None:
        """Wait until nobody else has it."""
        is_standby = False
        while not await self._is_taken():
            if not is_standby:
                log.info("another queue service leads; this one waits", name=self._name)
                tell_ready()
            is_standby = True
            await asyncio.sleep(LOOK)
        if is_standby:
            log.warning("this queue service takes over", name=self._name)

    async def hold(self) -> None:
        """Renew it until cancelled.

        Raises:
            FencedError: another queue service has taken over.
        """
        while True:
            try:
                await self._store.renew_lease(self._name, LASTS)
                self._is_sure.set()
            except UnavailableError as error:  # then nobody else can take over, either
                log.debug("the lease was not renewed", reason=error.message)
            await asyncio.sleep(RENEW)

    async def tick(self) -> None:
        """See, until cancelled, whether this process was stopped for so long that somebody may have taken over."""
        while True:
            self._look_at_clock()
            self._ticked = time.monotonic()
            await asyncio.sleep(TICK)

    async def sure(self) -> None:
        """Wait, after this process was stopped, until it is known to lead still; if it does not, it ends."""
        self._look_at_clock()
        await self._is_sure.wait()

    def _look_at_clock(self) -> None:
        if time.monotonic() - self._ticked > LASTS:
            self._is_sure.clear()

    async def _is_taken(self) -> bool:
        while True:
            try:
                return await self._store.take_lease(self._name, LASTS)
            except UnavailableError as error:
                log.debug("the lease cannot be read", reason=error.message)
                await asyncio.sleep(LOOK)
