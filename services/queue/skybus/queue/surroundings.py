"""Worker, environment, auth and Redis, as seen from here: asked how they are, and missed when they do not answer.

Nobody tells of a process that is stopped or of a server that hangs, so all are asked every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats.errors
import structlog

from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import CATALOG_UIDS, ENVIRONMENT_STATE, WORKER_STATE
from skybus.bus.connection import Bus
from skybus.bus.endpoints import InternalEndpoint, Rep
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.messages import Empty
from skybus.queue.manager import Manager
from skybus.queue.missing import Missing
from skybus.queue.reports import Reports
from skybus.queue.set_back import SetBack
from skybus.queue.store import Store
from skybus.queue.witness import Witness

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between questions to a part of the house that does not answer yet."""
LOOK_EVERY = 2.0
"""Seconds between questions to those that have answered."""
PATIENCE = 2.0
"""Seconds that a part has for its answer."""
FIRST_PATIENCE = 1.5
"""Seconds that auth, which is started with us, has at first for its lists."""
REDIS, JETSTREAM, WORKER, ENVIRONMENT, AUTH = "redis", "jetstream", "worker", "environment", "auth"


class Surroundings:
    """Finds out what there is, after each connection and when there is a doubt.

    Args:
        in_doubt: is set when something may have happened unseen.
        catalogue_read: told the uids of the lists that auth has.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        manager: Manager,
        reports: Reports,
        missing: Missing,
        set_back: SetBack,
        witness: Witness,
        in_doubt: asyncio.Event,
        catalogue_read: Callable[[CatalogChanged], None],
    ) -> None:
        self._bus = bus
        self._store = store
        self._manager = manager
        self._reports = reports
        self._missing = missing
        self._set_back = set_back
        self._witness = witness
        self._in_doubt = in_doubt
        self._catalogue_read = catalogue_read
        self._life_is_known = asyncio.Event()
        self._has_asked_worker = asyncio.Event()
        self._has_asked_auth = asyncio.Event()

    async def take_over(self, begin: Callable[[], Awaitable[Any]]) -> None:
        """Become the one who writes, as soon as Redis answers."""
        for pause in _pauses():
            try:
                self._set_back.found(await self._store.take_over())
                await begin()
                for weakness in await self._store.weaknesses():
                    log.warning("the Redis that keeps the queue may forget it", why=weakness)
            except UnavailableError as error:
                self._missing.lost(REDIS, error.message)
                await asyncio.sleep(pause)
            else:
                self._missing.found(REDIS)
                return

    async def resume(self, done: Callable[[], None]) -> None:
        """Find out what has happened meanwhile, whenever there is a doubt, until cancelled."""
        while True:
            await self._in_doubt.wait()
            self._in_doubt.clear()
            await self._bus.wait_connected()
            await self.ask()
            done()

    async def ask(self) -> None:
        """Ask until it is known whether there is an environment, and what lists auth has."""
        await asyncio.gather(self._ask_for_environment(), self._ask_for_catalog())

    async def until_asked(self) -> None:
        """Wait until worker and auth were asked for the first time, whether they have answered or not."""
        await self._has_asked_worker.wait()
        await self._has_asked_auth.wait()

    async def watch(self) -> None:
        """See who does not answer any more, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._bus.wait_connected()
            asking = {
                REDIS: self._store.probe(),
                JETSTREAM: self._witness.make_sure(),
                WORKER: self._compare_environment(),
                AUTH: self._bus.call(CATALOG_UIDS, Empty(), timeout=PATIENCE),
            }
            if self._manager.situation.is_open:
                asking[ENVIRONMENT] = self._bus.call(ENVIRONMENT_STATE, Empty(), timeout=PATIENCE)
            else:
                self._missing.found(ENVIRONMENT)
            await asyncio.gather(*(self._look(part, answer) for part, answer in asking.items()))

    async def until_life_is_known(self, longest: float) -> None:
        """Wait until it is known whether there is an environment, but not longer than some seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._life_is_known.wait(), longest)

    async def _ask_for_environment(self) -> None:
        """Ask until it is known whether there is an environment, and go on from there."""
        for pause in _pauses():
            try:
                if await self._resume_life():
                    self._life_is_known.set()
                    return
            except (SkybusError, nats.errors.Error, OSError) as error:
                log.debug("it is not known yet what there is", reason=str(error))
            finally:
                self._has_asked_worker.set()
            await asyncio.sleep(pause)

    async def _resume_life(self) -> bool:
        """Go on from what there is; returns whether it is known whether there is an environment."""
        now = self._manager.situation
        awaited = now.environment_id if now.is_open else None
        worker = await self._answer_of(WORKER, WORKER_STATE)
        environment = await self._answer_of(ENVIRONMENT, ENVIRONMENT_STATE) if worker.environment_id else None
        await self._set_back.settle(environment)
        is_drained = worker.is_settled and await self._reports.is_drained()
        await self._manager.resume_life(environment, awaited, is_drained=is_drained)
        return environment is not None or is_drained

    async def _answer_of(self, part: str, question: InternalEndpoint[Empty, Rep]) -> Rep:
        """Ask a part of the house, which is missing if it does not answer."""
        try:
            answer = await self._bus.call(question, Empty(), timeout=PATIENCE)
        except SkybusError as error:
            self._missing.lost(part, error.message)
            raise
        self._missing.found(part)
        return answer

    async def _compare_environment(self) -> None:
        """See that the worker has the environment of which we know."""
        worker = await self._bus.call(WORKER_STATE, Empty(), timeout=PATIENCE)
        if worker.environment_id != self._manager.situation.environment_id:
            self._in_doubt.set()

    async def _ask_for_catalog(self) -> None:
        asyncio.get_running_loop().call_later(FIRST_PATIENCE, self._has_asked_auth.set)
        for pause in _pauses():
            with contextlib.suppress(SkybusError):
                self._catalogue_read(await self._answer_of(AUTH, CATALOG_UIDS))
                self._has_asked_auth.set()
                return
            await asyncio.sleep(pause)

    async def _look(self, part: str, answer: Awaitable[Any]) -> None:
        try:
            await answer
        except SkybusError as error:
            self._missing.lost(part, error.message)
        else:
            if self._missing.found(part):
                self._in_doubt.set()


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_PAUSE)
