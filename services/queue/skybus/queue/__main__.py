"""`skybus-queue`: the queue service."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from skybus.bus import blob
from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import (
    CATALOG_UIDS,
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    WORKER_STATE,
    EnvironmentState,
)
from skybus.bus.arrivals import Arrivals
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.messages import Empty, Message, decode
from skybus.bus.runtime import Process, run_service, tell_ready
from skybus.bus.service import Handler, Service
from skybus.bus.streams import ensure_bucket
from skybus.queue.guards import guarded
from skybus.queue.handlers_engine import EngineHandlers
from skybus.queue.handlers_history import HistoryHandlers
from skybus.queue.handlers_lock import LockHandlers
from skybus.queue.handlers_manager import ManagerHandlers
from skybus.queue.handlers_queue import QueueHandlers
from skybus.queue.handlers_tasks import TaskHandlers
from skybus.queue.item_check import ItemCheck
from skybus.queue.keeper import Keeper
from skybus.queue.manager import Manager
from skybus.queue.once import Once
from skybus.queue.publisher import Publisher
from skybus.queue.reports import Reports
from skybus.queue.rights import Rights
from skybus.queue.settings import QueueSettings
from skybus.queue.status import StatusMaker
from skybus.queue.store import Store

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between questions to a part of the house that does not answer yet."""
READY_ANYWAY = 5.0
"""Seconds after which the service is ready also without knowing of an environment: the queue can be edited."""


class QueueService:
    """The parts of the queue service, and how they hang together."""

    def __init__(self, store: Store, bus: Bus, settings: QueueSettings) -> None:
        self._bus = bus
        self._settings = settings
        self._store = store
        self._keeper = Keeper(store, lambda: self._publisher.status_changed())
        self._must_ask = asyncio.Event()
        self._arrivals = Arrivals(bus)
        self._rights = Rights(bus, self._arrivals, lambda: self._status.catalog.allowed_uid)
        self._manager = Manager(
            self._keeper,
            store,
            bus,
            self._rights,
            self._event,
            lambda: self._publisher.status_changed(),
            self._catalogue_read,
            self._must_ask.set,
            settings,
        )
        self._status = StatusMaker(self._keeper, self._manager.situation)
        self._publisher = Publisher(bus, self._status.make)
        self._reports = Reports(bus, self._manager.handle_report)
        self._life_is_known = asyncio.Event()
        self._has_asked = asyncio.Event()
        once = Once(store, self._keeper, self._manager.situation)
        handlers = once.handlers(guarded(self._handlers(), lambda: self._keeper.last.lock))
        self._service = Service(bus, "queue", [_after(self._has_asked, handler) for handler in handlers])
        bus.on_connect.append(self._prepare)

    async def serve(self, process: Process) -> None:
        """Serve until told to stop."""
        await process.unless_stopped(self._take_over())
        if process.stop.is_set():
            return
        subjects = self._bus.subjects
        await self._arrivals.watch()
        await self._bus.subscribe(subjects.internal(ENVIRONMENT_STATE_TOPIC), self._on_state)
        await self._bus.subscribe(subjects.event("catalog"), self._on_catalog)
        process.start(self._keeper.run(), "keeper")
        await process.connect()
        process.start(self._publisher.run(), "publisher")
        process.start(self._publisher.keep(), "status keeper")
        process.start(self._reports.run(), "reports")
        process.start(self._resume(), "resume")
        await process.unless_stopped(self._until_life_is_known())
        tell_ready()
        await process.stop.wait()
        await self._service.drain()

    def _handlers(self) -> list[Handler[Any, Any]]:
        keeper, manager, settings = self._keeper, self._manager, self._settings
        check = ItemCheck(self._bus, self._arrivals, self._rights)
        emergency_key = settings.emergency_lock_key.get_secret_value() if settings.emergency_lock_key else None
        return [
            *ManagerHandlers(keeper, manager, self._status, settings.stack_pid).table(),
            *QueueHandlers(keeper, manager.runner, check).table(),
            *HistoryHandlers(keeper, self._store).table(),
            *EngineHandlers(manager, self._status).table(),
            *TaskHandlers(manager.tasks, check).table(),
            *LockHandlers(keeper, check, manager.announcer, emergency_key).table(),
        ]

    async def _take_over(self) -> None:
        """Become the one who writes, as soon as Redis answers."""
        for pause in _pauses():
            try:
                await self._store.take_over()
                await self._keeper.alter(lambda book: book.belong_to(self._settings.stack_run))
            except UnavailableError as error:
                self._unreachable("redis", error.message)
                await asyncio.sleep(pause)
            else:
                self._reachable("redis")
                return

    async def _prepare(self, connection: Connection) -> None:
        jetstream = connection.jetstream()
        await ensure_bucket(jetstream, self._bus.subjects.state_bucket)
        await blob.ensure(jetstream, self._bus.subjects.blob_bucket)
        self._must_ask.set()

    async def _resume(self) -> None:
        """After each connection, and when there is a doubt, find out what has happened meanwhile."""
        while True:
            await self._must_ask.wait()
            self._must_ask.clear()
            await self._bus.wait_connected()
            await asyncio.gather(self._ask_for_environment(), self._ask_for_catalog())
            self._publisher.status_changed()

    async def _until_life_is_known(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._life_is_known.wait(), READY_ANYWAY)

    async def _ask_for_environment(self) -> None:
        for pause in _pauses():
            try:
                worker = await self._bus.call(WORKER_STATE, Empty(), timeout=2)
                environment = None
                if worker.environment_id:
                    environment = await self._bus.call(ENVIRONMENT_STATE, Empty(), timeout=2)
                is_drained = worker.is_settled and await self._reports.is_drained()
                await self._manager.resume_life(environment, is_drained=is_drained)
            except (SkybusError, nats.errors.Error) as error:
                self._unreachable("worker", str(error))
            else:
                self._reachable("worker")
                if environment or is_drained:
                    self._life_is_known.set()
                    return
            finally:
                self._has_asked.set()
            await asyncio.sleep(pause)

    async def _ask_for_catalog(self) -> None:
        for pause in _pauses():
            try:
                self._status.catalog = await self._bus.call(CATALOG_UIDS, Empty(), timeout=2)
            except SkybusError as error:
                self._unreachable("auth", error.message)
            else:
                self._reachable("auth")
                return
            await asyncio.sleep(pause)

    async def _on_state(self, message: Msg) -> None:
        await self._manager.handle_state(decode(EnvironmentState, message.data))

    async def _on_catalog(self, message: Msg) -> None:
        self._catalogue_read(decode(CatalogChanged, message.data))

    def _catalogue_read(self, catalogue: CatalogChanged) -> None:
        self._status.catalog = catalogue
        self._publisher.status_changed()

    def _event(self, topic: str, message: Message) -> None:
        self._publisher.event(topic, message)

    def _unreachable(self, what: str, why: str) -> None:
        if self._status.unreachable.get(what) != why:
            log.warning("a part of the house does not answer", part=what, reason=why)
            self._status.unreachable[what] = why
            self._publisher.status_changed()

    def _reachable(self, what: str) -> None:
        if self._status.unreachable.pop(what, None):
            log.info("a part of the house answers again", part=what)
            self._publisher.status_changed()


def _after(event: asyncio.Event, handler: Handler[Any, Any]) -> Handler[Any, Any]:
    """Have a handler answer when an event has come: a status of a moment that nobody knows misleads who reads it."""

    async def answer(request: Any) -> Message:
        await event.wait()
        return await handler.answer(request)

    return dataclasses.replace(handler, answer=answer)


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def serve(settings: QueueSettings, process: Process) -> None:
    """Run the queue service of one instrument."""
    store = Store.at(settings.redis(), process.bus.subjects.inst, settings.redis_prefix, serves=True)
    try:
        await QueueService(store, process.bus, settings).serve(process)
    finally:
        await store.close()


def main() -> None:
    """Run the service; the console script."""
    run_service("queue", QueueSettings, serve)


if __name__ == "__main__":
    main()
