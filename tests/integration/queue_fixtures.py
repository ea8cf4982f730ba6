"""A queue service on real NATS and Valkey; worker, environment and auth are stand-ins that can be told to fail."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from skybus.bus.api.events import CatalogChanged, EnvironmentFacts
from skybus.bus.api.internal import (
    CATALOG_REFRESH,
    CATALOG_UIDS,
    ENVIRONMENT_END,
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    ITEM_MAY_RUN,
    ITEMS_CHECK,
    KERNEL_SIGNAL,
    NAME_CHECK,
    PLAN_CONTINUE,
    PLAN_PAUSE,
    PLAN_RUN,
    ROOT_CHECK,
    TASK_RUN,
    WORKER_DESTROY,
    WORKER_OPEN,
    WORKER_STATE,
    EnvironmentExited,
    EnvironmentOpen,
    EnvironmentOpened,
    EnvironmentPhase,
    EnvironmentState,
    ItemMayRun,
    ItemsCheck,
    ItemsChecked,
    NameCheck,
    NameChecked,
    PlanAccepted,
    PlanReport,
    PlanRun,
    RootCheck,
    TaskAccepted,
    TaskReport,
    TaskRun,
    WorkerState,
)
from skybus.bus.api.items import Item
from skybus.bus.connection import Bus
from skybus.bus.endpoints import InternalEndpoint
from skybus.bus.errors import NotFoundError, SkybusError, UnavailableError
from skybus.bus.messages import Empty, Message, Nothing, encode
from skybus.bus.runtime import Process
from skybus.bus.service import Handler, Service
from skybus.bus.streams import ensure_stream, life_stream
from skybus.client.client import Client
from skybus.queue.service import QueueService
from skybus.queue.settings import QueueSettings
from skybus.queue.store import Store
from tests.promises import PATIENCE
from tests.servers import NatsServer, Valkey, running

COUNT = {"item_type": "plan", "name": "count"}
NOTED = (ENVIRONMENT_END, PLAN_PAUSE, PLAN_CONTINUE, KERNEL_SIGNAL)


@dataclass
class StandIns:
    """Worker and auth as one service, the environment as another; `orders` and `tasks` are what it was told to run."""

    services: Bus
    environment: Bus
    environment_id: str | None = None
    asked_to_open: asyncio.Event = field(default_factory=asyncio.Event)
    answers_open: bool = True
    answers_run: bool = True
    may_run: bool = True
    """Whether what auth lets into the queue may also be run."""
    refuses_to_run: SkybusError | None = None
    """For auth; the environment: `refuses_run`."""
    refuses_run: SkybusError | None = None
    refuses_root: SkybusError | None = None
    checked_to_run: list[Item] = field(default_factory=list)
    refuses_task: SkybusError | None = None
    answers_task: bool = True
    known: set[str] = field(default_factory=set)
    """Attempts that the environment was told to run."""
    orders: asyncio.Queue[PlanRun] = field(default_factory=asyncio.Queue)
    tasks: asyncio.Queue[TaskRun] = field(default_factory=asyncio.Queue)
    catalogue: int = 1
    """The version that auth knows."""
    late_lists: int = 0
    """So many times auth does not have its lists yet."""
    state: EnvironmentState | None = None
    kernel: Literal["disabled", "idle"] = "disabled"
    opened_ids: set[str] = field(default_factory=set)
    is_silent: set[str] = field(default_factory=set)
    """`worker`, `environment` and `auth` do not say how they are, like a process that is stopped; or an endpoint."""
    serving: list[Service] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """What worker and environment were asked for besides plans and tasks."""

    def serve(self) -> None:
        of_services = Service(
            self.services,
            "stand-ins",
            [
                Handler(WORKER_STATE, self.worker_state),
                Handler(WORKER_OPEN, self.open),
                Handler(WORKER_DESTROY, self.note(WORKER_DESTROY)),
                Handler(ITEMS_CHECK, self.check),
                Handler(ITEM_MAY_RUN, self.check_to_run),
                Handler(NAME_CHECK, self.name),
                Handler(ROOT_CHECK, self.check_root),
                Handler(CATALOG_UIDS, self.uids),
                Handler(CATALOG_REFRESH, self.refresh),
            ],
        )
        of_environment = Service(
            self.environment,
            "environment",
            [
                Handler(ENVIRONMENT_STATE, self.get_state),
                Handler(PLAN_RUN, self.run),
                Handler(TASK_RUN, self.run_task),
                *(Handler(endpoint, self.note(endpoint)) for endpoint in NOTED),
            ],
        )
        self.serving = [of_services, of_environment]

    def note(self, endpoint: InternalEndpoint[Any, Nothing]) -> Callable[[Any], Awaitable[Nothing]]:
        async def answer(_: Any) -> Nothing:
            self.asked.append(endpoint.name)
            await self.speaks(endpoint.name)
            return Nothing()

        return answer

    async def speaks(self, part: str) -> None:
        if part in self.is_silent:
            await asyncio.Event().wait()

    async def worker_state(self, _: Empty) -> WorkerState:
        await self.speaks("worker")
        return WorkerState(environment_id=self.environment_id)

    async def open(self, request: EnvironmentOpen) -> Nothing:
        self.asked.append(WORKER_OPEN.name)
        self.opened_ids.add(request.environment_id)
        self.environment_id = request.environment_id
        self.asked_to_open.set()
        self.state = EnvironmentState(
            environment_id=request.environment_id,
            revision=1,
            phase=EnvironmentPhase.IDLE,
            ip_kernel_state=self.kernel,
        )
        if not self.answers_open:
            raise UnavailableError("no answer came")
        return Nothing()

    async def check(self, request: ItemsCheck) -> ItemsChecked:
        number = len(request.items)
        return ItemsChecked(
            user="operator",
            user_group="root",
            problems=[None] * number,
            may_run=[self.may_run] * number,
            lists_uid=(await self.uids(Empty())).allowed_uid,
        )

    async def check_to_run(self, request: ItemMayRun) -> Nothing:
        self.checked_to_run.append(request.item)
        if self.refuses_to_run:
            raise self.refuses_to_run
        return Nothing()

    async def check_root(self, request: RootCheck) -> Nothing:
        if self.refuses_root:
            raise self.refuses_root
        return Nothing()

    async def name(self, request: NameCheck) -> NameChecked:
        return NameChecked(user=request.requester)

    async def uids(self, _: Empty) -> CatalogChanged:
        await self.speaks("auth")
        self.late_lists -= 1
        if self.late_lists >= 0:
            raise UnavailableError("auth has only begun")
        return CatalogChanged(**dict.fromkeys(CatalogChanged.model_fields, str(self.catalogue)))

    async def refresh(self, _: Empty) -> CatalogChanged:
        self.catalogue += 1
        return await self.uids(_)

    async def allowed_lists_change(self) -> None:
        self.catalogue += 1
        await self.services.publish(self.services.subjects.event("catalog"), await self.uids(Empty()))

    async def get_state(self, _: Empty) -> EnvironmentState:
        await self.speaks("environment")
        assert self.state
        return self.state

    async def run(self, request: PlanRun) -> PlanAccepted:
        if request.must_be_known and request.attempt not in self.known:
            raise NotFoundError("this attempt was not asked for before")
        if self.refuses_run:
            raise self.refuses_run
        self.known.add(request.attempt)
        self.orders.put_nowait(request)
        if not self.answers_run:
            raise UnavailableError("no answer came")
        return PlanAccepted(outcome="started")

    async def run_task(self, request: TaskRun) -> TaskAccepted:
        if self.refuses_task:
            raise self.refuses_task
        self.tasks.put_nowait(request)
        if not self.answers_task:
            raise UnavailableError("no answer came")
        return TaskAccepted(outcome="started", time_start=time.time())

    async def become(self, **changes: Any) -> None:
        """The environment is in another state and says so."""
        assert self.state
        self.state = self.state.model_copy(update={**changes, "revision": self.state.revision + 1})
        await self.environment.publish(self.environment.subjects.internal(ENVIRONMENT_STATE_TOPIC), self.state)

    async def report(self, kind: str, report: Message) -> None:
        subject = self.environment.subjects.life(kind)
        await self.environment.jetstream.publish(subject, encode(report))

    async def opened(self, facts: EnvironmentFacts | None = None) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.asked_to_open.wait()
        assert self.environment_id
        await self.report("opened", EnvironmentOpened(environment_id=self.environment_id, success=True, facts=facts))

    async def finished(self, order: PlanRun, exit_status: str = "completed", **more: Any) -> None:
        await self.report("report", self.report_of(order, exit_status, **more))

    def report_of(self, order: PlanRun, exit_status: str = "completed", **more: Any) -> PlanReport:
        return PlanReport.model_validate(
            {
                "environment_id": self.environment_id,
                "attempt": order.attempt,
                "item_uid": order.item["item_uid"],
                "exit_status": exit_status,
                "time_start": time.time(),
                "time_stop": time.time(),
                **more,
            }
        )

    async def task_done(self, order: TaskRun, **result) -> None:
        assert self.environment_id
        report = TaskReport(
            environment_id=self.environment_id,
            task_uid=order.task_uid,
            run_in_background=order.run_in_background,
            time_start=time.time(),
            time_stop=time.time(),
            **{"success": True, **result},
        )
        await self.report("task", report)

    async def exited(self) -> None:
        assert self.environment_id
        await self.report("exited", EnvironmentExited(environment_id=self.environment_id, msg="killed by a test"))
        self.environment_id = self.state = None
        self.asked_to_open.clear()


@asynccontextmanager
async def queue_service(nats: NatsServer, valkey: Valkey, **settings) -> AsyncIterator[None]:
    store = Store.at(valkey.url, "sim")
    async with asyncio.TaskGroup() as group:
        process = Process("queue", nats.make_bus("queue"), group)
        serving = group.create_task(QueueService(store, process.bus, QueueSettings(**settings)).serve(process))
        yield
        process.stop.set()
        await serving
        await process.end()
    await store.close()


@pytest.fixture
async def house(nats: NatsServer, valkey: Valkey) -> AsyncIterator[StandIns]:
    house = StandIns(nats.make_bus("worker"), nats.make_bus("environment"))
    house.serve()
    async with running(house.services), running(house.environment):
        await ensure_stream(house.services.jetstream, life_stream(house.services.subjects))
        yield house
        for service in house.serving:
            await service.give_up()  # who was told to be silent still is


@pytest.fixture
async def client(nats: NatsServer) -> AsyncIterator[Client]:
    async with Client.connect(data_dir=nats.data_dir, connect_timeout=PATIENCE) as client:
        yield client


async def opened(house: StandIns, client: Client) -> None:
    await client.wait("idle")
    await client.open_environment(wait=False)
    await house.opened()
    await client.wait(lambda status: status.worker_environment_exists)


@asynccontextmanager
async def queue_process(
    nats: NatsServer, valkey: Valkey, program: str = "", **settings: Any
) -> AsyncIterator[subprocess.Popen]:
    told = {"SKYBUS_DATA_DIR": nats.data_dir, "SKYBUS_REDIS_URL": valkey.url, **settings}
    with (nats.data_dir / "queue.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *(["-c", program] if program else ["-m", "skybus.queue"])],
            env={**os.environ, **{name: str(value) for name, value in told.items()}},
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def until_said(log: Path, what: str) -> None:
    """Wait for a line in the log of the processes; a standby says nothing on the bus."""
    async with asyncio.timeout(PATIENCE):
        while what not in log.read_text():
            await asyncio.sleep(0.01)
