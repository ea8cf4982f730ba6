"""Which queue service leads, if there are several for one instrument (docs/decisions/0011)."""

from __future__ import annotations

import asyncio
import math
import time

import structlog

from skybus.bus.api.health import Lead
from skybus.bus.errors import UnavailableError
from skybus.bus.notify import tell_ready
from skybus.queue.missing import Missing
from skybus.queue.store import Store

log = structlog.get_logger()

LASTS = 1.0
"""Seconds that a lease lasts if it is not renewed."""
RENEW, LOOK, TICK = 0.3, 0.1, 0.2
"""Seconds: between renewals, between looks whether it is free, between looks at the clock."""
HEAD_START = 1.0
"""Seconds that who leads has when Redis answers again: it could not renew its lease, and comes first, since it knows
what a Redis that has come back may have lost (recent.py)."""
MISSED = 3.0
"""Seconds that nobody has waited after which a standby is missed: one that has died is started again meanwhile."""
STANDBY = "standby"


class Lease:
    """The right to be the queue service, held under a name.

    Args:
        needs_standby: whether one that waits to take over is missed when there is none.
    """

    def __init__(self, store: Store, name: str, missing: Missing, *, needs_standby: bool) -> None:
        self._store = store
        self._name = name
        self._missing = missing
        self._needs_standby = needs_standby
        self._standby = ""
        self._waited = 0.0
        """When somebody waited last, by the monotonic clock."""
        self._ticked = math.inf
        """When the event loop was seen to run, by the monotonic clock."""
        self._is_sure = asyncio.Event()
        self._is_sure.set()

    async def lead(self) -> Lead:
        """Who leads, which is this one if it is sure of it, and who waits."""
        await self.sure()
        return Lead(name=self._name, standby=self._standby)

    async def take(self) -> None:
        """Wait until nobody else has it."""
        if await self._is_taken():
            return
        log.info("another queue service leads; this one waits", name=self._name)
        tell_ready()
        while not await self._is_taken():  # noqa: ASYNC110 - nothing tells that a lease has ended
            await asyncio.sleep(LOOK)
        log.warning("this queue service takes over", name=self._name)

    async def hold(self) -> None:
        """Renew it until cancelled.

        Raises:
            FencedError: another queue service has taken over.
        """
        self._waited = time.monotonic()
        while True:
            try:
                self._see(await self._store.renew_lease(self._name, LASTS))
                self._is_sure.set()
            except UnavailableError as error:  # whoever takes over meanwhile has the higher fencing number
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

    def _see(self, waits: str) -> None:
        """Know who waits; of who has just taken over it is still kept that it does."""
        self._standby = waits if waits != self._name else ""
        if self._standby:
            self._waited = time.monotonic()
            self._missing.found(STANDBY)
        elif self._needs_standby and time.monotonic() - self._waited > MISSED:
            self._missing.lost(STANDBY, "no second queue service waits to take over")

    async def _is_taken(self) -> bool:
        try:
            return await self._store.take_lease(self._name, LASTS)
        except UnavailableError as error:
            log.debug("the lease cannot be read", reason=error.message)
            await self._until_redis_answers()
            await asyncio.sleep(HEAD_START)
            return False

    async def _until_redis_answers(self) -> None:
        while True:
            try:
                return await self._store.ping()
            except UnavailableError:
                await asyncio.sleep(LOOK)
