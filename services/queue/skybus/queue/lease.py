"""Which queue service leads, if there are several for one instrument (docs/decisions/0011).

A thread of its own renews the lease over a client of its own, so that nothing that keeps the event loop busy delays the
renewal (docs/decisions/0023).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog
from redis.exceptions import RedisError

from skybus.bus.api.health import Lead
from skybus.bus.errors import UnavailableError, why
from skybus.bus.notify import tell_ready
from skybus.queue.lease_keys import LeaseKeys, Renewal
from skybus.queue.missing import Missing
from skybus.queue.own_thread import in_own_thread
from skybus.queue.store import Store

log = structlog.get_logger()

LASTS = 1.0
"""Seconds that a lease lasts if it is not renewed."""
RENEW, LOOK, TICK = 0.3, 0.1, 0.2
"""Seconds: between renewals, between looks whether it is free, between looks at the clock."""
LIVES = 5.0
"""Seconds after which an event loop that has not run counts as hanging for good: its lease is renewed no more. Our
longest work takes far less."""
HEAD_START = 1.0
"""Seconds that who leads has when Redis answers again: it could not renew its lease, and comes first, since it knows
what a Redis that has come back may have lost (recent.py)."""
MISSED = 3.0
"""Seconds that nobody has waited after which a standby is missed: one that has died is started again meanwhile."""
STANDBY = "standby"


class _Tried(NamedTuple):
    """An attempt to renew the lease."""

    begun: float
    """By the monotonic clock."""
    outcome: Renewal | RedisError | OSError


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
        self._renewed = -math.inf
        """When the last renewal that Redis has confirmed was begun, by the monotonic clock."""
        self._tried = asyncio.Queue[_Tried]()
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

    async def renew(self) -> None:
        """Renew it until cancelled, in a thread of its own."""
        loop = asyncio.get_running_loop()

        def report(attempt: _Tried) -> None:
            loop.call_soon_threadsafe(self._tried.put_nowait, attempt)

        await in_own_thread(self._renew(report), "lease")

    async def hold(self) -> None:
        """Act, until cancelled, on what becomes of each renewal.

        Raises:
            FencedError: another queue service has taken over.
        """
        self._waited = time.monotonic()
        while True:
            await self._heed(await self._tried.get())

    async def tick(self) -> None:
        """Check, until cancelled, whether this process was stopped for so long that somebody may have taken over."""
        while True:
            self._look_at_clock()
            self._ticked = time.monotonic()
            await asyncio.sleep(TICK)

    async def sure(self) -> None:
        """Wait, after this process was stopped, until it is known to lead still; if it does not, it ends."""
        self._look_at_clock()
        await self._is_sure.wait()

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if max(self._ticked, self._renewed) < now - LASTS:
            self._is_sure.clear()

    async def _renew(self, report: Callable[[_Tried], None]) -> None:
        """Renew it in its thread, for as long as the service's event loop lives."""
        keys = self._store.another_lease()
        try:
            while True:
                begun = time.monotonic()
                if keys.has_proof and self._ticked > begun - LIVES:
                    report(_Tried(begun, await self._try(keys, begun)))
                await asyncio.sleep(RENEW)
        finally:
            await keys.close()

    async def _try(self, keys: LeaseKeys, begun: float) -> Renewal | RedisError | OSError:
        try:
            renewal = await keys.renew(self._name, LASTS)
        except (RedisError, OSError) as error:  # whoever takes over meanwhile has the higher fencing number
            return error
        if renewal.outcome == b"ok":
            self._renewed = begun
        return renewal

    async def _heed(self, tried: _Tried) -> None:
        """Act on what became of a renewal."""
        if not isinstance(tried.outcome, Renewal):
            log.debug("the lease was not renewed", reason=why(tried.outcome))
            self._store.note_failure(tried.outcome)
            return
        try:
            await self._store.renewed(tried.outcome)
        except UnavailableError as error:
            log.debug("what Redis has lost is not made again yet", reason=error.message)
            return
        if tried.outcome.outcome == b"ok":
            self._see(tried.outcome.standby)
            if tried.begun > time.monotonic() - LASTS:  # else it may have ended since
                self._is_sure.set()

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
