"""Redis slow, full, hung, and back with an older file: what the queue service then does, and says."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from skybus.bus.api.internal import PLAN_PAUSE, EnvironmentPhase
from skybus.bus.api.items import ItemSpec
from skybus.bus.api.lock import LOCK, UNLOCK, LockSet, Unlock
from skybus.bus.api.queue import ITEM_ADD, ItemAdd, ItemAdded
from skybus.bus.errors import SkybusError, UnavailableError, WrongStateError
from skybus.client.client import Client
from skybus.queue import redis_address, store
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, opened, queue_service
from tests.promises import within
from tests.servers import Valkey

__all__ = ["client", "house"]

ADD = ItemAdd(item=ItemSpec.model_validate(COUNT))


@asynccontextmanager
async def redis_of(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url) as redis:
        yield redis


async def runs(house: StandIns, client: Client, items: int = 1) -> None:
    await opened(house, client)
    await client.add_items([COUNT] * items)
    await client.start()


async def seconds(work: Awaitable[object]) -> float:
    begin = time.monotonic()
    await work
    return time.monotonic() - begin


async def test_a_full_redis_refuses_what_adds_and_lets_all_else_go_on(nats, valkey, house, client) -> None:
    """Also a queue service that starts then."""
    async with queue_service(nats, valkey), redis_of(valkey) as redis:
        await runs(house, client, items=4)
        first = await house.orders.get()
        before = await client.status()
        await redis.config_set("maxmemory", 1)
        with pytest.raises(WrongStateError, match="Redis is full .* clear the history or take items out"):
            await client.add_item(COUNT)
        status = await client.wait(lambda status: "redis" in status.unreachable)
        assert "full" in status.unreachable["redis"].why
        assert (status.items_in_queue, status.plan_queue_uid) == (3, before.plan_queue_uid)
        await client.call(LOCK, LockSet(lock_key="the key", queue=True))
        await client.call(UNLOCK, Unlock(lock_key="the key"))
        await client.remove("back")
        await house.finished(first)
        second = await house.orders.get()
    async with queue_service(nats, valkey), redis_of(valkey) as redis:
        await house.finished(second)
        third = await house.orders.get()
        while third.attempt == second.attempt:  # ordered again after the start
            third = await house.orders.get()
        await house.finished(third)
        status = await client.wait(lambda status: status.items_in_history == 3 and status.manager_state == "idle")
        assert status.items_in_queue == 0
        await redis.config_set("maxmemory", 0)
        await client.add_item(COUNT)
        await client.wait(lambda status: not status.unreachable)


@within(1)
async def test_with_a_redis_that_hangs_a_plan_is_paused_and_aborted_and_what_changes_the_queue_is_refused(
    nats, valkey, house, client, monkeypatch, limit
) -> None:
    patience = 2.0
    monkeypatch.setattr(redis_address, "PATIENCE", patience)
    async with queue_service(nats, valkey, abort_deferred_pause_grace=20):
        await runs(house, client)
        order = await house.orders.get()
        await house.become(attempt=order.attempt, re_state="running", phase=EnvironmentPhase.EXECUTING_PLAN)
        valkey.process.send_signal(signal.SIGSTOP)
        with pytest.raises(UnavailableError, match="Redis does not answer"):
            await client.call(ITEM_ADD, ADD, timeout=2)
        assert await seconds(client.pause()) < patience + limit  # it may have to wait until Redis is known to hang
        assert PLAN_PAUSE.name in house.asked
        with pytest.raises(UnavailableError, match="Redis does not answer: it hangs"):
            await client.bus.call(ITEM_ADD, ADD, timeout=5)
        aborting = asyncio.create_task(client.abort(now=True))
        while house.asked.count(PLAN_PAUSE.name) < 2:
            await asyncio.sleep(0.01)
        valkey.process.send_signal(signal.SIGCONT)
        await house.finished(order, "aborted")
        assert await aborting == ["deferred_pause"]
        await client.add_item(COUNT)


@dataclass
class SlowRedis:
    """Stands before a Valkey and keeps each thing that is asked of it for some seconds."""

    valkey: Valkey
    delay: float = 0.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"unix://{self.valkey.folder}/slow.sock"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self.valkey.folder / "valkey.sock")
        for source, sink, is_slow in ((reader, to_server, True), (from_server, writer, False)):
            task = asyncio.create_task(self.pass_on(source, sink, is_slow=is_slow))
            self.tasks.add(task)

    async def pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_slow: bool) -> None:
        while data := await source.read(1 << 16):
            if is_slow:
                await asyncio.sleep(self.delay)
            sink.write(data)
        sink.close()


@pytest.fixture
async def slow(valkey: Valkey) -> AsyncIterator[SlowRedis]:
    slow = SlowRedis(valkey)
    server = await asyncio.start_unix_server(slow.serve, valkey.folder / "slow.sock")
    yield slow
    server.close()
    for task in slow.tasks:
        task.cancel()
    await asyncio.wait(slow.tasks)


async def outcome(asking: Awaitable[ItemAdded]) -> str:
    try:
        return (await asking).item["item_uid"]
    except SkybusError as error:
        return error.message


@within(1)
@pytest.mark.parametrize("delay", [0.4, pytest.param(2.0, marks=pytest.mark.slow)])
async def test_a_slow_redis_makes_changes_slow_and_what_would_come_too_late_is_not_done(
    nats, slow, house, client, monkeypatch, delay, limit
) -> None:
    monkeypatch.setattr(store, "SLOW", delay / 2)
    async with queue_service(nats, slow):
        await runs(house, client, items=2)
        order = await house.orders.get()
        slow.delay = delay
        assert await seconds(client.add_item(COUNT)) < 3 * delay + limit
        asking = (outcome(client.bus.call(ITEM_ADD, ADD, timeout=2.5 * delay)) for _ in range(6))
        answers = await asyncio.gather(*asking)
        assert await seconds(client.status()) < limit
        assert 1 <= sum("item.add is not done yet: Redis" in answer for answer in answers) < 6
        status = await client.wait(lambda status: "redis" in status.unreachable)
        assert "slow" in status.unreachable["redis"].why
        await house.finished(order)
        second = await house.orders.get()
        slow.delay = 0.0
        await house.finished(second)
        await client.wait(lambda status: not status.unreachable and status.items_in_history == 2)
        done = [answer for answer in answers if "Redis" not in answer]
        there = [item["item_uid"] for item in (await client.queue()).items]
        assert set(done) <= {*there, second.item["item_uid"]}
        assert len(there) < 7


async def test_changes_that_redis_has_lost_are_made_again_by_who_has_made_them(nats, valkey, house, client) -> None:
    files, copy = valkey.folder / "appendonlydir", valkey.folder / "copy"
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_items([COUNT, COUNT])
        shutil.copytree(files, copy)
        await client.start()
        await client.stop()
        await house.finished(await house.orders.get())
        await client.wait(lambda status: status.items_in_history == 1)
        await client.add_item(COUNT)
        before = await client.queue(), await client.history()
        valkey.stop()
        shutil.rmtree(files)
        copy.rename(files)
        await valkey.start()
        await client.add_item(COUNT)
        assert (await client.queue()).items[:-1] == before[0].items
        assert await client.history() == before[1]
        assert "stored queue" not in (await client.status()).unreachable
