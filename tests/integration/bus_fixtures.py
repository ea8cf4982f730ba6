"""A queue service with canned answers, for tests of what stands in front of it: a real service on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from skybus.bus import blob
from skybus.bus.api.engine import RE_ABORT, RE_PAUSE, RE_RESUME, RE_RUNS, Run, RunList
from skybus.bus.api.environment import ENVIRONMENT_CLOSE, ENVIRONMENT_OPEN
from skybus.bus.api.events import EnvironmentChanged
from skybus.bus.api.health import Absence
from skybus.bus.api.history import HISTORY_CLEAR, HISTORY_GET, HistoryPage
from skybus.bus.api.queue import (
    ITEM_ADD,
    ITEM_ADD_BATCH,
    ITEM_REMOVE,
    QUEUE_AUTOSTART,
    QUEUE_CLEAR,
    QUEUE_GET,
    QUEUE_MODE_SET,
    QUEUE_START,
    BatchAdded,
    ItemAdded,
    ItemRemoved,
    ItemVerdict,
    QueueMode,
    QueuePage,
)
from skybus.bus.api.status import PING, STATUS_GET, LockState, Status
from skybus.bus.arrivals import say_here
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, NotFoundError, SkybusError, WrongStateError
from skybus.bus.messages import Nothing
from skybus.bus.runtime import Process
from skybus.bus.service import Handler, Service, current_call
from tests.promises import PATIENCE
from tests.servers import NatsServer, running

STATUS = Status(
    msg="RE Manager: canned",
    time="2026-11-22T08:00:00",
    items_in_queue=0,
    items_in_history=0,
    running_item_uid=None,
    manager_state="idle",
    queue_stop_pending=False,
    queue_autostart_enabled=False,
    worker_environment_exists=False,
    worker_environment_state="closed",
    worker_background_tasks=0,
    re_state=None,
    ip_kernel_state=None,
    ip_kernel_captured=None,
    pause_pending=False,
    status_uid="s",
    run_list_uid="r",
    plan_queue_uid="q",
    plan_history_uid="h",
    devices_existing_uid="de",
    plans_existing_uid="pe",
    devices_allowed_uid="da",
    plans_allowed_uid="pa",
    plan_queue_mode=QueueMode(),
    task_results_uid="t",
    lock_info_uid="l",
    lock=LockState(),
    revision=1,
)


class CannedQueue:
    """Answers as the queue service does, without Redis, worker or checks."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.status = STATUS
        self.items: list[dict[str, Any]] = []
        self.seen: list[Any] = []
        """The requests, in order."""
        self.users: list[str] = []
        self.request_ids: list[str] = []
        self.swallows = 0
        """So many of the next additions are never answered."""
        self.opens = True
        self.refuses_status: SkybusError | None = None
        self.release = asyncio.Event()
        self.slow = False
        """Hold `queue.get` until `release` is set."""
        self.holds = asyncio.Event()
        """Somebody has asked for it meanwhile."""
        self.missing: dict[str, Absence] = {}
        self.service = Service(bus, "queue", self.table(), missing=lambda: self.missing)

    def table(self) -> list[Handler[Any, Any]]:
        done = (ENVIRONMENT_CLOSE, QUEUE_START, QUEUE_CLEAR, QUEUE_AUTOSTART, HISTORY_CLEAR, RE_PAUSE, RE_RESUME)
        return [
            Handler(PING, self.get_status),
            Handler(STATUS_GET, self.get_status),
            Handler(QUEUE_GET, self.get_queue),
            Handler(ITEM_ADD, self.add),
            Handler(ITEM_ADD_BATCH, self.add_batch),
            Handler(ITEM_REMOVE, self.remove),
            Handler(HISTORY_GET, self.get_history),
            Handler(ENVIRONMENT_OPEN, self.open),
            Handler(RE_ABORT, self.abort),
            Handler(RE_RUNS, self.runs),
            Handler(QUEUE_MODE_SET, self.set_mode),
            *(Handler(endpoint, self.do) for endpoint in done),
        ]

    async def push(self, **changes: Any) -> None:
        """Change the status and publish it."""
        self.status = self.status.model_copy(update={**changes, "revision": self.status.revision + 1})
        await self.bus.publish(self.bus.subjects.event("status"), self.status)

    async def get_status(self, _: Any) -> Status:
        if self.refuses_status:
            raise self.refuses_status
        return self.status

    async def get_queue(self, request: Any) -> QueuePage:
        if self.slow and request.limit is None:
            self.holds.set()
            await self.release.wait()
        return QueuePage(items=self.items, running_item={}, plan_queue_uid="q", qsize=len(self.items))

    async def get_history(self, _: Any) -> HistoryPage:
        return HistoryPage(items=[], plan_history_uid="h", size=0)

    async def add(self, request: Any) -> ItemAdded:
        self._note(request)
        if self.swallows:
            self.swallows -= 1
            await asyncio.Event().wait()
        if request.item.name == "unknown":
            raise InvalidError("Plan 'unknown' is not in the list of allowed plans.")
        item = {**request.item.to_item(), "item_uid": f"uid-{len(self.items)}", "user": request.user or "operator"}
        self.items.append(item)
        return ItemAdded(item=item, qsize=len(self.items))

    async def add_batch(self, request: Any) -> BatchAdded:
        self._note(request)
        results = [
            ItemVerdict(success=isinstance(item, dict) and "name" in item, msg="no name") for item in request.items
        ]
        failed = sum(not result.success for result in results)
        if failed:
            raise InvalidError(
                f"Failed to add all items: validation of {failed} out of {len(results)} submitted items failed",
                results=[result.model_dump() for result in results],
            )
        return BatchAdded(items=request.items, results=results, qsize=len(results))

    async def remove(self, request: Any) -> ItemRemoved:
        self._note(request)
        raise NotFoundError(f"Item with UID '{request.uid}' is not in the queue.")

    async def open(self, request: Any) -> Nothing:
        self._note(request)
        if self.status.worker_environment_exists:
            raise WrongStateError("RE Worker environment already exists.")
        await self.push(manager_state="creating_environment")
        task = asyncio.create_task(self._opened())
        task.add_done_callback(lambda done: done.result())
        return Nothing()

    async def _opened(self) -> None:
        await self.release.wait()
        change = (
            EnvironmentChanged(state="opened") if self.opens else EnvironmentChanged(state="failed", msg="no motor")
        )
        await self.bus.publish(self.bus.subjects.event("environment"), change)
        await self.push(manager_state="idle", worker_environment_exists=self.opens)

    async def abort(self, request: Any) -> Nothing:
        self._note(request)
        raise WrongStateError("RE Manager is not paused: current state is 'idle'")

    async def runs(self, _: Any) -> RunList:
        return RunList(run_list=[Run(uid="run-1", scan_id=1)], run_list_uid="r")

    async def set_mode(self, request: Any) -> QueueMode:
        self._note(request)
        return QueueMode()

    async def do(self, request: Any) -> Nothing:
        self._note(request)
        return Nothing()

    def _note(self, request: Any) -> None:
        self.seen.append(request)
        self.users.append(current_call().requester.user)
        self.request_ids.append(current_call().request_id)


@asynccontextmanager
async def canned_queue(nats: NatsServer) -> AsyncIterator[CannedQueue]:
    """A canned queue service on a server."""
    bus = nats.make_bus("queue")

    async def ensure_blobs(connection: Any) -> None:
        await blob.ensure(connection.jetstream(), nats.subjects.blob_bucket)

    bus.on_connect.append(ensure_blobs)
    queue = CannedQueue(bus)
    bus.on_connect.append(lambda _: say_here(bus, "queue"))
    async with running(bus):
        yield queue
        await queue.service.give_up()


@asynccontextmanager
async def reconnected(*buses: Bus) -> AsyncIterator[None]:
    """Wait at the end of the block until each bus has a new connection."""
    waits = []
    for bus in buses:
        new = asyncio.Event()

        async def notice(_connection: Any, new: asyncio.Event = new) -> None:
            new.set()

        bus.on_connect.append(notice)
        waits.append(new.wait())
    yield
    await asyncio.gather(*waits)
    await asyncio.gather(*(bus.wait_connected() for bus in buses))


class _Inside(Process):
    """A service inside this process, whose log stays here."""

    async def connect(self, *, publishes: bool = True) -> None:
        await super().connect(publishes=False)


@asynccontextmanager
async def service(bus: Bus, serve: Any, settings: Any) -> AsyncIterator[Any]:
    """Run a service's `serve` inside this process, until the end of the block."""
    async with asyncio.TaskGroup() as group:
        process = _Inside(bus.name, bus, group)
        serving = group.create_task(serve(settings, process))
        try:
            async with asyncio.timeout(PATIENCE):
                waiting = asyncio.create_task(bus.wait_connected())
                await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
            yield process
        finally:
            process.stop.set()
            await asyncio.wait({serving})
            await process.end()
