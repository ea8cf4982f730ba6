"""The queue service on real NATS and Valkey; worker, environment and auth are stand-ins that can be told to fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import (
    CATALOG_REFRESH,
    CATALOG_UIDS,
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    ITEMS_CHECK,
    PLAN_RUN,
    WORKER_OPEN,
    WORKER_STATE,
    EnvironmentOpen,
    EnvironmentOpened,
    EnvironmentPhase,
    EnvironmentState,
    ItemsCheck,
    ItemsChecked,
    PlanAccepted,
    PlanReport,
    PlanRun,
    WorkerState,
)
from skybus.bus.api.queue import ITEM_ADD, ItemAdd
from skybus.bus.connection import Bus
from skybus.bus.errors import ConflictError, UnavailableError
from skybus.bus.messages import Empty, Message, Nothing, encode
from skybus.bus.runtime import Process
from skybus.bus.service import Handler, Service
from skybus.bus.streams import ensure_stream, life_stream
from skybus.client.client import Client
from skybus.queue.__main__ import QueueService
from skybus.queue.settings import QueueSettings
from skybus.queue.store import Store
from tests.servers import NatsServer, Valkey, running

COUNT = {"item_type": "plan", "name": "count"}


@dataclass
class StandIns:
    """Worker and auth as one service, the environment as another; `orders` are the plans it was told to run."""

    services: Bus
    environment: Bus
    environment_id: str | None = None
    answers_open: bool = True
    answers_run: bool = True
    orders: asyncio.Queue[PlanRun] = field(default_factory=asyncio.Queue)
    state: EnvironmentState | None = None

    def serve(self) -> None:
        Service(
            self.services,
            "stand-ins",
            [
                Handler(WORKER_STATE, self.worker_state),
                Handler(WORKER_OPEN, self.open),
                Handler(ITEMS_CHECK, self.check),
                Handler(CATALOG_UIDS, self.uids),
                Handler(CATALOG_REFRESH, self.uids),
            ],
        )
        Service(
            self.environment, "environment", [Handler(ENVIRONMENT_STATE, self.get_state), Handler(PLAN_RUN, self.run)]
        )

    async def worker_state(self, _: Empty) -> WorkerState:
        return WorkerState(environment_id=self.environment_id)

    async def open(self, request: EnvironmentOpen) -> Nothing:
        self.environment_id = request.environment_id
        self.state = EnvironmentState(environment_id=request.environment_id, revision=1, phase=EnvironmentPhase.IDLE)
        if not self.answers_open:
            raise UnavailableError("no answer came")
        return Nothing()

    async def check(self, request: ItemsCheck) -> ItemsChecked:
        return ItemsChecked(user="operator", user_group="root", problems=[None] * len(request.items))

    async def uids(self, _: Empty) -> CatalogChanged:
        return CatalogChanged(
            plans_existing_uid="1", devices_existing_uid="1", plans_allowed_uid="1", devices_allowed_uid="1"
        )

    async def get_state(self, _: Empty) -> EnvironmentState:
        assert self.state
        return self.state

    async def run(self, request: PlanRun) -> PlanAccepted:
        self.orders.put_nowait(request)
        if not self.answers_run:
            raise UnavailableError("no answer came")
        return PlanAccepted(outcome="started")

    async def report(self, kind: str, report: Message) -> None:
        subject = self.environment.subjects.life(kind)
        await self.environment.jetstream.publish(subject, encode(report))

    async def opened(self) -> None:
        assert self.environment_id
        await self.report("opened", EnvironmentOpened(environment_id=self.environment_id, success=True))

    async def finished(self, order: PlanRun, exit_status: str = "completed") -> None:
        report = PlanReport.model_validate(
            {
                "environment_id": self.environment_id,
                "attempt": order.attempt,
                "item_uid": order.item["item_uid"],
                "exit_status": exit_status,
                "time_start": time.time(),
                "time_stop": time.time(),
            }
        )
        await self.report("report", report)


@asynccontextmanager
async def queue_service(nats: NatsServer, valkey: Valkey) -> AsyncIterator[None]:
    store = Store.at(valkey.url, "sim")
    async with asyncio.TaskGroup() as group:
        process = Process("queue", nats.make_bus("queue"), group)
        serving = group.create_task(QueueService(store, process.bus, QueueSettings()).serve(process))
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


@pytest.fixture
async def client(nats: NatsServer) -> AsyncIterator[Client]:
    async with Client.connect(data_dir=nats.data_dir) as client, asyncio.timeout(20):
        yield client


async def opened(house: StandIns, client: Client) -> None:
    await client.wait("idle")
    await client.open_environment(wait=False)
    await house.opened()
    await client.wait(lambda status: status.worker_environment_exists)


async def test_the_next_plan_starts_when_the_report_of_the_last_has_come(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_items([COUNT, COUNT])
        await client.start()
        first = await house.orders.get()
        await house.finished(first)
        second = await house.orders.get()
        assert second.attempt != first.attempt
        await house.finished(second)
        await client.wait("queue_drained")
        assert (await client.status()).items_in_history == 2


async def test_an_order_that_is_not_confirmed_is_sent_again_as_the_same_attempt(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        house.answers_run = False
        await client.add_item(COUNT)
        await client.start()
        first, again = await house.orders.get(), await house.orders.get()
        house.answers_run = True
        assert first == again
        await house.finished(first)
        await house.finished(first)  # a report that is delivered twice
        await client.wait("queue_drained")
        assert (await client.status()).items_in_history == 1


async def test_a_report_waits_while_redis_is_away(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        order = await house.orders.get()
        valkey.stop()
        await house.finished(order)
        with pytest.raises(UnavailableError, match="Redis"):
            await client.add_item(COUNT)
        await valkey.start()
        status = await client.wait(lambda status: status.manager_state == "idle")
        assert status.items_in_history == 1


async def test_a_running_plan_is_taken_up_by_the_next_queue_service(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_items([COUNT, COUNT])
        await client.start()
        order = await house.orders.get()
    await house.finished(order)
    async with queue_service(nats, valkey):
        again = await house.orders.get()
        while again.attempt == order.attempt:
            again = await house.orders.get()
        await house.finished(again)
        await client.wait(lambda status: status.items_in_history == 2)


async def test_an_environment_that_opens_although_nobody_answered_is_found(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        house.answers_open = False
        with pytest.raises(UnavailableError):
            await client.open_environment(wait=False)
        await client.wait(lambda status: status.worker_environment_exists)


async def test_a_pause_is_told_by_the_environment(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        order = await house.orders.get()
        for revision, re_state in ((2, "paused"), (3, "running")):
            house.state = house.state.model_copy(
                update={"revision": revision, "attempt": order.attempt, "re_state": re_state}
            )
            await house.environment.publish(house.environment.subjects.internal(ENVIRONMENT_STATE_TOPIC), house.state)
            state = "paused" if re_state == "paused" else "executing_queue"
            await client.wait(lambda status, state=state: status.manager_state == state)
        await house.finished(order, "aborted")
        await client.wait("idle")
        assert [item["name"] for item in (await client.queue()).items] == ["count"]


async def test_a_change_on_stale_knowledge_is_refused(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        seen = (await client.queue()).plan_queue_uid
        await client.add_item(COUNT)
        with pytest.raises(ConflictError, match="changed since you read it"):
            await client.call(ITEM_ADD, ItemAdd.model_validate({"item": COUNT, "expected_queue_uid": seen}))
        assert (await client.status()).items_in_queue == 1
