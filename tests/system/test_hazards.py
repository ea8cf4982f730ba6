"""Hazards of the Bluesky Queue Server that we must not have; docs/faults.md says which test stands for which.

Those that other tests show are not here. Worker, environment and auth are stand-ins, except where processes are killed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from skybus.bus.api.internal import PLAN_PAUSE
from skybus.bus.api.queue import (
    ITEM_MOVE_BATCH,
    ITEM_REMOVE_BATCH,
    ItemMoveBatch,
    ItemRemoveBatch,
)
from skybus.bus.api.tasks import SCRIPT_UPLOAD, TASK_RESULT, ScriptUpload, TaskResultGet
from skybus.bus.errors import ConflictError, SkybusError, WrongStateError
from skybus.bus.tasks import end_tasks
from skybus.queue import surroundings
from skybus.queue.store import Store
from tests.integration.queue_fixtures import COUNT, client, house, opened, queue_service
from tests.servers import Valkey

__all__ = ["client", "house"]

READS = {"GET", "MGET", "LRANGE", "LLEN", "ZRANGE", "HGETALL", "PING", "MULTI", "EXEC", "HELLO", "CLIENT", "SCRIPT"}
BOOK = {"queue", "items", "running", "history", "flags"}


class Watched:
    """What Redis is told, as its MONITOR shows it."""

    def __init__(self, valkey: Valkey) -> None:
        self._redis = Redis.from_url(valkey.url)
        self._marks = 0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Watched]:
        async with self._redis, self._redis.monitor() as self._monitor:
            yield self

    async def scripts_of(self, change: Awaitable[Any]) -> list[set[str]]:
        """For each script that changes the book, the keys that it writes; whatever else writes is an error."""
        await change
        self._marks += 1
        await self._redis.echo(f"mark {self._marks}")
        scripts: list[set[str]] = []
        async for told in self._monitor.listen():
            name, *words = told["command"].split()
            if told["client_type"] == "lua":
                scripts[-1].update(word.rpartition(":")[2] for word in words[:1])
            elif name.upper() == "EVALSHA":
                scripts.append(set())
            elif name.upper() == "ECHO" and words[-1] == str(self._marks):
                return [keys & BOOK for keys in scripts if keys & BOOK]
            else:
                assert name.upper() in READS or words[0].endswith((":lease", ":fence")), told["command"]
        raise AssertionError("unreachable")


async def test_each_change_is_one_script(nats, valkey, house, client) -> None:
    """1 and 9: an item is taken from the queue in one step and made the running one in another."""

    async def uids() -> list[str]:
        return [item["item_uid"] for item in (await client.queue()).items]

    async with queue_service(nats, valkey), Watched(valkey).watching() as redis:
        await opened(house, client)
        await redis.scripts_of(client.status())
        assert len(await redis.scripts_of(client.add_items([COUNT] * 20))) == 1
        there = await uids()
        move = ItemMoveBatch(uids=there[5:15], pos_dest="front")
        assert len(await redis.scripts_of(client.call(ITEM_MOVE_BATCH, move))) == 1
        remove = ItemRemoveBatch(uids=there[5:10])
        assert len(await redis.scripts_of(client.call(ITEM_REMOVE_BATCH, remove))) == 1
        replacement = {**COUNT, "kwargs": {"num": 2}, "item_uid": there[0]}
        assert len(await redis.scripts_of(client.update_item(replacement, replace=True))) == 1
        assert await redis.scripts_of(client.start()) == [{"queue", "items", "running", "flags"}]

        async def next_starts() -> None:
            await house.finished(await house.orders.get())
            house.orders.put_nowait(await house.orders.get())

        assert await redis.scripts_of(next_starts()) == [BOOK]


async def test_items_that_are_equal_are_told_apart(nats, valkey, house, client) -> None:
    """9: an item is found by all that it has, so one that stands there twice may be the wrong one."""
    async with queue_service(nats, valkey):
        await client.wait("idle")
        first, second, third = await client.add_items([COUNT] * 3)
        await client.move(third["item_uid"], "front")
        await client.remove(first["item_uid"])
        left = [item["item_uid"] for item in (await client.queue()).items]
        assert left == [third["item_uid"], second["item_uid"]]


async def test_a_plan_that_is_done_is_done_although_nobody_answers(nats, valkey, house, client, monkeypatch) -> None:
    """2: a report that does not come within half a second makes a failure of a success, and the plan runs again."""
    monkeypatch.setattr(surroundings, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(surroundings, "PATIENCE", 0.2)
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.set_autostart(enable=True)
        item = await client.add_item(COUNT)
        order = await house.orders.get()
        house.is_silent |= {"worker", "environment"}
        await client.wait(lambda status: {"worker", "environment"} <= set(status.unreachable))
        house.is_silent.clear()
        await client.wait(lambda status: not status.unreachable)
        assert (await client.status()).running_item_uid == item["item_uid"]
        await house.finished(order)
        await client.wait(lambda status: status.items_in_history == 1)
        (done,) = (await client.history()).items
        status = await client.status()
        assert (done["item_uid"], done["result"]["exit_status"]) == (item["item_uid"], "completed")
        assert (status.items_in_queue, status.manager_state) == (0, "idle")
        while not house.orders.empty():  # an environment runs an attempt once, however often it is told
            assert (await house.orders.get()).attempt == order.attempt


async def test_what_is_reported_twice_harms_nobody(nats, valkey, house, client) -> None:
    """4: an answer that comes a second time ends the task that watches the worker."""
    async with queue_service(nats, valkey):
        await opened(house, client)
        await house.opened()
        await client.add_items([COUNT] * 2)
        await client.start()
        for _ in range(2):
            order = await house.orders.get()
            await house.finished(order)
            await house.finished(order)
        await client.wait(lambda status: status.items_in_history == 2 and status.manager_state == "idle")
        task = await client.call(SCRIPT_UPLOAD, ScriptUpload(script="x = 1"))
        ordered = await house.tasks.get()
        await house.task_done(ordered)
        await house.task_done(ordered, success=False)
        await client.wait("idle")
        await client.call(SCRIPT_UPLOAD, ScriptUpload(script="x = 2"))
        await house.task_done(await house.tasks.get())
        assert (await client.wait("idle")).items_in_history == 2
        for _ in range(2):  # 5: a result is gone when it was read
            result = await client.call(TASK_RESULT, TaskResultGet(task_uid=task.task_uid))
            assert result.result["success"]
        gone = house.environment_id
        await house.exited()
        house.environment_id = gone
        await house.exited()
        await client.wait(lambda status: not status.worker_environment_exists)
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        await house.finished(await house.orders.get())
        await client.wait(lambda status: status.items_in_history == 3 and status.manager_state == "idle")


async def test_a_plan_that_ran_when_everything_died_has_failed(nats, valkey, house, client) -> None:
    """6: it is assumed to have succeeded; in loop mode it goes to the back, and the queue may go on by itself."""
    async with queue_service(nats, valkey, stack_run="before"):
        await opened(house, client)
        await client.set_mode({"loop": True})
        await client.set_autostart(enable=True)
        first, second = await client.add_items([COUNT] * 2)
        await house.orders.get()
    house.environment_id = house.state = None
    async with queue_service(nats, valkey, stack_run="after"):
        status = await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        (lost,) = (await client.history()).items
        assert (lost["item_uid"], lost["result"]["exit_status"]) == (first["item_uid"], "failed")
        again, waiting = (await client.queue()).items
        assert again["item_uid"] not in (first["item_uid"], second["item_uid"])
        assert (again["result"]["msg"], waiting["item_uid"]) == (lost["result"]["msg"], second["item_uid"])
        assert (status.plan_queue_mode.loop, status.queue_autostart_enabled) == (True, False)
        await opened(house, client)
        assert (await client.status()).manager_state == "idle"
        assert house.orders.empty()


async def test_redis_can_be_far_away_and_encrypted() -> None:
    """7: of an address only what has no scheme is understood."""

    def first_bytes(server: socket.socket) -> bytes:
        connection, _ = server.accept()
        with connection:
            return connection.recv(2)

    with socket.create_server(("127.0.0.1", 0)) as server:
        hello = asyncio.create_task(asyncio.to_thread(first_bytes, server))
        store = Store.at(f"rediss://somebody:secret@127.0.0.1:{server.getsockname()[1]}/2", "sim")
        pinging = asyncio.create_task(store.load())
        assert await hello == b"\x16\x03"  # a client's hello of TLS
        await end_tasks([pinging])
        await store.close()


async def test_a_pause_that_nobody_answers_holds_up_nobody(nats, valkey, house, client) -> None:
    """8 and 10: one request waits for a Run Engine whose loop is blocked, and all others wait with it."""
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        order = await house.orders.get()
        house.is_silent.add(PLAN_PAUSE.name)
        pausing = asyncio.create_task(client.pause("immediate"))
        await client.add_item(COUNT)
        await client.remove(0)
        await client.call(SCRIPT_UPLOAD, ScriptUpload(script="x = 1", run_in_background=True))
        await house.finished(order)
        await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        assert not pausing.done()
        await end_tasks([pausing])


async def outcome(request: Awaitable[Any]) -> type[SkybusError] | None:
    try:
        await request
    except SkybusError as error:
        return type(error)
    return None


async def test_of_agents_that_want_to_run_a_plan_now_one_does(nats, valkey, house, client) -> None:
    """11: two agents see each other's item in the queue, and neither starts it."""
    async with queue_service(nats, valkey):
        await opened(house, client)
        outcomes = await asyncio.gather(*(outcome(client.execute("count", num=n)) for n in range(10)))
        assert sorted(map(str, outcomes)) == sorted(map(str, [None] + [WrongStateError] * 9))
        assert (await client.status()).items_in_queue == 0
        await house.finished(await house.orders.get())
        await client.wait("idle")


async def test_of_agents_that_add_and_start_all_get_their_plans_run(nats, valkey, house, client) -> None:
    """11, the usual way: add, then start; who is told that the queue runs already need do nothing."""

    async def add_and_start() -> type[SkybusError] | None:
        await client.add_item(COUNT)
        return await outcome(client.start())

    async with queue_service(nats, valkey):
        await opened(house, client)
        outcomes = await asyncio.gather(*(add_and_start() for _ in range(10)))
        assert set(outcomes) == {None, WrongStateError}
        for _ in range(10):
            await house.finished(await house.orders.get())
        await client.wait("queue_drained")


async def test_agents_need_not_start_anything(nats, valkey, house, client) -> None:
    """11, with autostart: what is added while the queue is idle runs at once."""
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.set_autostart(enable=True)
        await asyncio.gather(*(client.add_item(COUNT) for _ in range(10)))
        for _ in range(10):
            await house.finished(await house.orders.get())
        await client.wait("queue_drained")
        await client.add_item(COUNT)
        await house.finished(await house.orders.get())


async def test_of_agents_that_add_only_if_nobody_else_did_one_does(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        seen = (await client.wait("idle")).plan_queue_uid
        adding = (client.add_item(COUNT, expected_queue_uid=seen) for _ in range(10))
        outcomes = await asyncio.gather(*map(outcome, adding))
        assert (outcomes.count(None), outcomes.count(ConflictError)) == (1, 9)
        assert (await client.status()).items_in_queue == 1
