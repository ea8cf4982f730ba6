"""The queue service dies during a restore: all or nothing is there, as the command says."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from skybus.bus.api.queue import QueueMode
from skybus.bus.errors import NotFoundError
from skybus.bus.tasks import end_tasks
from skybus.client import retries
from skybus.client.backups import Contents
from skybus.client.client import Client
from tests.faults.crash_house import FORK, readable, serve
from tests.faults.crash_steps import Order, Point, order_file, read_trace
from tests.integration.queue_fixtures import client, house
from tests.integration.test_backup import plan, run, what_there_is
from tests.promises import PATIENCE
from tests.servers import NatsServer, Valkey

__all__ = ["client", "house"]
pytestmark = pytest.mark.usefixtures("fork_server")

STEPS = re.compile(r"redis commit|reply to cmd\.operator\.restore|send (int\.auth\.root|evt\.queue|evt\.history)")


@asynccontextmanager
async def dying_queue_service(nats: NatsServer, valkey: Valkey) -> AsyncIterator[asyncio.Event]:
    """A queue service that can be told at which step to die, and is started again; yields what is set when it dies."""
    environ = {"SKYBUS_DATA_DIR": str(nats.data_dir), "SKYBUS_REDIS_URL": valkey.url}
    living, has_died = list[Any](), asyncio.Event()

    async def keep_alive() -> None:
        while True:
            process = FORK.Process(target=serve, args=("queue", str(nats.data_dir / "queue.log"), environ), daemon=True)
            await asyncio.to_thread(process.start)
            living[:] = [process]
            await readable(process.sentinel)
            process.join()
            process.close()
            living.clear()
            has_died.set()

    keeper = asyncio.create_task(keep_alive())
    try:
        yield has_died
    finally:
        await end_tasks([keeper])
        for process in living:
            process.kill()
            process.join()
            process.close()


class Restores:
    """Restores of one backup in the place of one item, during which the queue service dies."""

    def __init__(self, nats: NatsServer, client: Client, has_died: asyncio.Event) -> None:
        self._has_died = has_died
        self._order = order_file(nats.data_dir, "queue")
        self._trace = nats.data_dir / "trace"
        self._client = client
        items = [{**made(number), "item_uid": f"uid {number}"} for number, made in enumerate((plan, plan, run, run))]
        self._contents = Contents(time=0, mode=QueueMode(), running_item={}, items_in_queue=2, items_in_history=2)
        self._parts = [(items[:1], []), (items[1:2], items[2:3]), ([], items[3:])]
        self._whole = (items[:2], items[2:], QueueMode().model_dump())

    async def points(self) -> list[Point]:
        """The steps of a restore that nothing happens to, without those that come by the clock."""
        assert await self._restored(None)
        self._order.unlink()
        return [point for point in read_trace(self._trace) if STEPS.search(point.step)]

    async def die(self, point: Point) -> None:
        """All or nothing is there, as the command says; and the next restore works."""
        await self._client.clear_history()
        await self._client.clear()
        await self._client.add_item(plan(9))
        before = await what_there_is(self._client)
        is_done = await self._restored(point)
        assert not self._order.exists(), f"{point} was not reached"
        await self._has_died.wait()
        self._has_died.clear()
        assert await what_there_is(self._client) == (self._whole if is_done else before), point
        while not is_done:
            is_done = await self._restored(None)
        assert await what_there_is(self._client) == self._whole, point

    async def _restored(self, point: Point | None) -> bool:
        if point or not self._trace.exists():
            Order(uuid.uuid4().hex, str(self._trace), point).write(self._order)
        try:
            await self._client.restore(self._contents, self._parts, replace=True)
        except NotFoundError:
            return False
        return True


@pytest.fixture
async def hurried(nats: NatsServer, monkeypatch) -> AsyncIterator[Client]:
    """A client that asks again every two seconds."""
    monkeypatch.setattr(retries, "_ATTEMPTS", 15)
    async with Client.connect(data_dir=nats.data_dir, connect_timeout=PATIENCE, request_timeout=30) as client:
        yield client


async def test_a_death_at_the_step_that_counts_leaves_all_or_nothing(nats, valkey, house, hurried) -> None:
    async with dying_queue_service(nats, valkey) as has_died:
        await hurried.wait("idle")
        restores = Restores(nats, hurried, has_died)
        before, after = (point for point in await restores.points() if "RENAME" in point.step)
        await restores.die(before)
        await restores.die(after)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_death_at_any_step_leaves_all_or_nothing(nats, valkey, house, hurried) -> None:
    async with dying_queue_service(nats, valkey) as has_died:
        await hurried.wait("idle")
        restores = Restores(nats, hurried, has_died)
        for point in await restores.points():
            await restores.die(point)
