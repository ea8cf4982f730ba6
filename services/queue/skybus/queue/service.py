"""The queue service: its parts, and how they hang together."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from nats.aio.client import Client as Connection
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from skybus.bus import blob
from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import ENVIRONMENT_STATE_TOPIC, EnvironmentState
from skybus.bus.arrivals import Arrivals
from skybus.bus.connection import Bus
from skybus.bus.ensuring import Ensured
from skybus.bus.messages import decode
from skybus.bus.notify import tell_ready
from skybus.bus.provenance import is_event
from skybus.bus.runtime import Process
from skybus.bus.service import Handler, Service
from skybus.bus.streams import ensure_bucket
from skybus.queue import staging
from skybus.queue.answer_room import AnswerRoom
from skybus.queue.book import Book
from skybus.queue.guards import guarded
from skybus.queue.handlers_backup import BackupHandlers
from skybus.queue.handlers_engine import EngineHandlers
from skybus.queue.handlers_history import HistoryHandlers
from skybus.queue.handlers_lock import LockHandlers
from skybus.queue.handlers_manager import ManagerHandlers
from skybus.queue.handlers_queue import QueueHandlers
from skybus.queue.handlers_restore import RestoreHandlers
from skybus.queue.handlers_stores import StoreHandlers
from skybus.queue.handlers_tasks import TaskHandlers
from skybus.queue.item_check import ItemCheck
from skybus.queue.keeper import Keeper
from skybus.queue.lease import Lease
from skybus.queue.manager import Manager
from skybus.queue.missing import Missing
from skybus.queue.once import Once
from skybus.queue.publisher import Publisher
from skybus.queue.reports import Reports
from skybus.queue.rights import Rights
from skybus.queue.set_back import SetBack
from skybus.queue.settings import QueueSettings
from skybus.queue.status import StatusMaker
from skybus.queue.store import Store
from skybus.queue.surroundings import Surroundings
from skybus.queue.witness import Witness

READY_ANYWAY = 5.0
"""Seconds after which the service is ready also without knowing of an environment: the queue can be edited."""


class QueueService:
    """The queue service of one instrument."""

    def __init__(self, store: Store, bus: Bus, settings: QueueSettings) -> None:
        self._bus = bus
        self._settings = settings
        self._store = store
        store.limit(AnswerRoom(settings.repeat_window, settings.answers_max_bytes), settings.replay_max_bytes)
        self._must_ask = asyncio.Event()
        self._witness = Witness(bus, settings.redis_prefix, lambda: self._keeper.last.revision)
        self._publisher = Publisher(bus, lambda: self._status.make(), self._witness.tell)
        changed = self._publisher.status_changed
        self._keeper = Keeper(store, self._book_changed)
        self._arrivals = Arrivals(bus)
        self._rights = Rights(bus, self._arrivals, lambda: self._status.catalog.allowed_uid)
        self._manager = Manager(
            self._keeper,
            store,
            bus,
            self._rights,
            self._publisher.event,
            changed,
            self._catalogue_read,
            self._must_ask.set,
            settings,
        )
        missing = Missing(changed, lambda: self._keeper.last.flags.doubt)
        self._lease = Lease(store, settings.queue_name, missing, needs_standby=settings.standby)
        self._status = StatusMaker(self._keeper, self._manager.situation, missing)
        self._reports = Reports(bus, self._manager.handle_report, settings.life_max_bytes)
        set_back = SetBack(bus, store, self._keeper, self._reports, self._witness)
        self._surroundings = Surroundings(
            bus,
            store,
            self._manager,
            self._reports,
            missing,
            set_back,
            self._witness,
            self._must_ask,
            self._catalogue_read,
        )
        self._service = Service(
            bus,
            "queue",
            self._guarded(self._handlers()),
            missing=lambda: missing.parts,
            lead=self._lease.lead,
            group=settings.queue_name,
        )
        Ensured(bus, self._ensure)
        bus.on_connect.append(self._on_connect)

    async def serve(self, process: Process) -> None:
        """Serve until told to stop."""
        await process.unless_stopped(self._lease.take())
        if process.stop.is_set():
            return
        process.start(self._lease.tick(), "clock")
        process.start(self._lease.hold(), "lease")
        process.start(self._lease.renew(), "renew lease")  # reading a long queue may take longer than the lease lasts
        await process.unless_stopped(self._surroundings.take_over(self._begin))
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
        process.start(self._surroundings.resume(self._publisher.status_changed), "resume")
        process.start(self._surroundings.watch(), "watch")
        await process.unless_stopped(self._surroundings.until_life_is_known(READY_ANYWAY))
        tell_ready()
        await process.stop.wait()
        await self._service.drain()
        await self._manager.orders.end()

    def _book_changed(self) -> None:
        self._manager.announcer.stored(self._keeper.last)
        self._publisher.status_changed()

    def _handlers(self) -> list[Handler[Any, Any]]:
        keeper, manager, settings = self._keeper, self._manager, self._settings
        check = ItemCheck(self._bus, self._arrivals, self._rights)
        emergency_key = settings.emergency_lock_key.get_secret_value() if settings.emergency_lock_key else None
        return [
            *ManagerHandlers(keeper, manager, self._status, settings.stack_pid).table(),
            *QueueHandlers(keeper, manager.runner, check).table(),
            *HistoryHandlers(keeper, self._store).table(),
            *BackupHandlers(keeper, self._store).table(),
            *RestoreHandlers(keeper, manager.situation, check).table(),
            *StoreHandlers(self._bus, self._store, settings).table(),
            *EngineHandlers(manager, self._status).table(),
            *TaskHandlers(manager.tasks, check).table(),
            *LockHandlers(keeper, check, manager.announcer, emergency_key).table(),
        ]

    def _guarded(self, handlers: list[Handler[Any, Any]]) -> list[Handler[Any, Any]]:
        """Answer when it is known what there is, each change once, and what is locked only to who has the key."""
        once = Once(self._store, self._keeper, self._manager.situation)
        changes_once = once.handlers(guarded(handlers, lambda: self._keeper.last.lock))
        return [self._known(handler) for handler in changes_once]

    def _known(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        """Answer when it is known what there is, and that we lead: another moment's status misleads who reads it."""

        async def answer(request: Any) -> Any:
            await self._surroundings.until_asked()
            await self._lease.sure()
            return await handler.answer(request)

        return dataclasses.replace(handler, answer=answer)

    async def _begin(self) -> None:
        def alter(book: Book) -> None:
            book.belong_to(self._settings.stack_run)
            staging.forget(book)

        await self._keeper.alter(alter)

    async def _ensure(self, jetstream: JetStreamContext) -> None:
        await ensure_bucket(jetstream, self._bus.subjects.state_bucket, self._bus.replicas)
        replies = self._settings.replies_max_bytes
        await blob.ensure(jetstream, self._bus.subjects.blob_bucket, self._bus.replicas, max_bytes=replies)

    async def _on_connect(self, _: Connection) -> None:
        self._must_ask.set()

    async def _on_state(self, message: Msg) -> None:
        if is_event(self._bus.subjects, message):
            await self._manager.handle_state(decode(EnvironmentState, message.data))

    async def _on_catalog(self, message: Msg) -> None:
        if is_event(self._bus.subjects, message):
            self._catalogue_read(decode(CatalogChanged, message.data))

    def _catalogue_read(self, catalogue: CatalogChanged) -> None:
        self._status.catalog = catalogue
        self._publisher.status_changed()
