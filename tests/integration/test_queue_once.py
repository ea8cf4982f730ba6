"""Every endpoint that changes something: the same request is done once and answered alike, also after a SIGKILL.

The queue service is a process; worker, environment and auth are the stand-ins of queue_fixtures.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson
import pytest

from skybus.bus.api import engine, environment, history, lock, manager, queue, tasks
from skybus.bus.api.internal import EnvironmentPhase
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import UnavailableError, WrongStateError
from skybus.client.client import Client
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, opened, queue_process, queue_service
from tests.promises import PATIENCE

__all__ = ["client", "house"]

APIS = (engine, environment, history, lock, manager, queue, tasks)
CHANGING = {
    endpoint.name
    for api in APIS
    for endpoint in vars(api).values()
    if isinstance(endpoint, Endpoint) and endpoint.changes
}
KEY = {"lock_key": "the key"}
STOP = {"item_type": "instruction", "name": "queue_stop"}


class Request(NamedTuple):
    """A request, and what happens next in the house."""

    endpoint: Endpoint[Any, Any]
    fields: dict[str, Any] | Callable[[list[str]], dict[str, Any]] = {}
    """May depend on the uids that are in the queue."""
    then: Callable[[StandIns, Client], Awaitable[None]] | None = None


async def is_open(house: StandIns, client: Client) -> None:
    await house.opened()
    await client.wait(lambda status: status.worker_environment_exists)


async def is_gone(house: StandIns, client: Client) -> None:
    await house.exited()
    await client.wait(lambda status: not status.worker_environment_exists and status.manager_state == "idle")


async def runs(house: StandIns, client: Client) -> None:
    order = await house.orders.get()
    await house.become(attempt=order.attempt, re_state="running", phase=EnvironmentPhase.EXECUTING_PLAN)
    house.orders.put_nowait(order)


async def is_paused(house: StandIns, client: Client) -> None:
    await house.become(re_state="paused", phase=EnvironmentPhase.IDLE)
    await client.wait("paused")


async def goes_on(house: StandIns, client: Client) -> None:
    await house.become(re_state="running", phase=EnvironmentPhase.EXECUTING_PLAN)
    await client.wait("running")


def ends(exit_status: str) -> Callable[[StandIns, Client], Awaitable[None]]:
    async def end(house: StandIns, client: Client) -> None:
        await house.become(re_state="idle", phase=EnvironmentPhase.IDLE, attempt=None)
        await house.finished(await house.orders.get(), exit_status)
        await client.wait("idle")

    return end


async def task_ends(house: StandIns, client: Client) -> None:
    await house.task_done(await house.tasks.get())
    await client.wait("idle")


async def has_kernel(house: StandIns, client: Client) -> None:
    house.kernel = "idle"


def paused_and(endpoint: Endpoint[Any, Any], exit_status: str) -> list[Request]:
    return [
        Request(queue.QUEUE_START, then=runs),
        Request(engine.RE_PAUSE, {"option": "immediate"}, is_paused),
        Request(endpoint, then=ends(exit_status)),
    ]


REQUESTS = [
    Request(environment.ENVIRONMENT_OPEN, then=is_open),
    Request(queue.ITEM_ADD, {"item": COUNT}),
    Request(queue.ITEM_ADD_BATCH, {"items": [COUNT] * 7}),
    Request(queue.ITEM_UPDATE, lambda uids: {"item": {**COUNT, "kwargs": {"num": 2}, "item_uid": uids[1]}}),
    Request(queue.ITEM_MOVE, {"pos": "front", "pos_dest": "back"}),
    Request(queue.ITEM_MOVE_BATCH, lambda uids: {"uids": uids[2:4], "pos_dest": "front"}),
    Request(queue.ITEM_REMOVE, {"pos": "back"}),
    Request(queue.ITEM_REMOVE_BATCH, lambda uids: {"uids": uids[:1]}),
    Request(queue.QUEUE_MODE_SET, {"mode": {"loop": True}}),
    Request(queue.QUEUE_MODE_SET, {"mode": "default"}),
    Request(lock.LOCK, {"environment": True, **KEY}),
    Request(lock.UNLOCK, KEY),
    Request(queue.QUEUE_START, then=runs),
    Request(queue.QUEUE_STOP),
    Request(queue.QUEUE_STOP_CANCEL),
    Request(queue.QUEUE_STOP),
    Request(engine.RE_PAUSE, {"option": "deferred"}, is_paused),
    Request(engine.RE_RESUME, then=goes_on),
    Request(engine.RE_PAUSE, {"option": "deferred"}, is_paused),
    Request(engine.RE_ABORT, then=ends("aborted")),
    *paused_and(engine.RE_STOP, "stopped"),
    *paused_and(engine.RE_HALT, "halted"),
    Request(queue.ITEM_EXECUTE, {"item": COUNT}, ends("completed")),
    Request(history.HISTORY_CLEAR, {"size": 1}),
    Request(queue.QUEUE_CLEAR),
    Request(queue.QUEUE_AUTOSTART, {"enable": True}),
    Request(queue.ITEM_EXECUTE, {"item": STOP}),
    Request(tasks.SCRIPT_UPLOAD, {"script": "x = 1"}, task_ends),
    Request(tasks.FUNCTION_EXECUTE, {"item": {"item_type": "function", "name": "f"}}, task_ends),
    Request(tasks.ENVIRONMENT_UPDATE, then=task_ends),
    Request(environment.ENVIRONMENT_CLOSE, then=is_gone),
    Request(manager.MANAGER_STOP, {"option": "safe_off"}, has_kernel),
    Request(environment.ENVIRONMENT_OPEN, then=is_open),
    Request(engine.KERNEL_INTERRUPT, {"interrupt_plan": True, "interrupt_task": True}),
    Request(environment.ENVIRONMENT_DESTROY, then=is_gone),
]
"""One after the other, from an empty queue."""


class Asker:
    """Sends requests under ids, so that they can be sent again."""

    def __init__(self, house: StandIns, client: Client) -> None:
        self.house, self.client = house, client
        self.sent: list[tuple[Endpoint[Any, Any], bytes, str, bytes]] = []

    async def ask(self, request: Request) -> None:
        fields = request.fields
        if callable(fields):
            fields = fields([item["item_uid"] for item in (await self.client.queue()).items])
        body, request_id = orjson.dumps(fields), f"request {len(self.sent)}"
        reply = await self._send(request.endpoint, body, request_id)
        self.sent.append((request.endpoint, body, request_id, reply))
        if request.then:
            await request.then(self.house, self.client)

    async def ask_all_again(self) -> None:
        for endpoint, body, request_id, reply in self.sent:
            assert await self._send(endpoint, body, request_id) == reply, endpoint.name

    async def state(self) -> tuple[Any, ...]:
        """What must not be different afterwards."""
        page, past = await self.client.queue(), await self.client.history()
        status = (await self.client.status()).model_dump(exclude={"time", "revision", "status_uid"})
        kept = {name: value for name, value in status.items() if "uid" not in name or name.startswith("plan_")}
        return page, past, kept, list(self.house.asked), self.house.orders.qsize(), self.house.tasks.qsize()

    async def _send(self, endpoint: Endpoint[Any, Any], body: bytes, request_id: str) -> bytes:
        try:
            return await self.client.bus.call_bytes(endpoint, body, request_id=request_id)
        except Exception as error:
            raise AssertionError(f"{endpoint.name}: {error!r}") from error


@pytest.mark.timeout(120)
async def test_each_request_is_done_once_also_when_the_service_is_killed(nats, valkey, house, client) -> None:
    with subprocess.Popen(["sleep", "600"]) as stack:
        settings = {"SKYBUS_STACK_PID": stack.pid}
        asker = Asker(house, client)
        async with queue_process(nats, valkey, **settings) as first, asyncio.timeout(PATIENCE):
            await client.wait("idle")
            for request in REQUESTS:
                await asker.ask(request)
            assert stack.wait(PATIENCE) == -signal.SIGTERM
            await asker.ask_all_again()
            before = await asker.state()
            with pytest.raises(UnavailableError):
                await client.bus.call(manager.MANAGER_KILL, manager.ManagerKill(), timeout=1, request_id="the end")
            assert await asyncio.to_thread(first.wait) == -signal.SIGKILL
        async with queue_process(nats, valkey, **settings) as second, asyncio.timeout(PATIENCE):
            await client.wait("idle")
            await asker.ask_all_again()
            assert await asker.state() == before
            await client.bus.call(manager.MANAGER_KILL, manager.ManagerKill(), request_id="the end")
            assert second.poll() is None


def test_the_table_has_every_endpoint() -> None:
    asked = {request.endpoint.name for request in REQUESTS}
    assert asked | {manager.MANAGER_KILL.name, manager.MANAGER_TEST.name} == CHANGING


async def test_what_was_begun_when_the_service_died_is_not_done_twice(nats, valkey, house, client) -> None:
    """The environment has opened for a request of which the service that began it could not say so any more."""
    async with queue_service(nats, valkey):
        await client.wait("idle")
        house.answers_open = False
        with pytest.raises(UnavailableError):
            await client.bus.call(environment.ENVIRONMENT_OPEN, environment.EnvironmentControl(), request_id="1")
    house.answers_open = True
    async with queue_service(nats, valkey):
        await client.wait(lambda status: status.manager_state == "idle" and status.worker_environment_exists)
        await client.bus.call(environment.ENVIRONMENT_OPEN, environment.EnvironmentControl(), request_id="1")
        assert house.asked.count("worker.open") == 1
        with pytest.raises(WrongStateError, match="already exists"):
            await client.bus.call(environment.ENVIRONMENT_OPEN, environment.EnvironmentControl(), request_id="2")


async def test_a_request_sent_twice_at_once_is_done_once(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        body = orjson.dumps({"item": COUNT})
        replies = [client.bus.call_bytes(queue.ITEM_ADD, body, request_id="1") for _ in range(20)]
        assert len(set(await asyncio.gather(*replies))) == 1
        assert (await client.queue()).qsize == 1


async def test_the_running_plan_can_be_paused_while_redis_is_away(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        await runs(house, client)
        valkey.stop()
        with pytest.raises(UnavailableError):
            await client.bus.call(lock.LOCK, lock.LockSet(lock_key="the key", environment=True))
        assert not (await client.status()).lock.environment
        await client.pause("immediate")
        await is_paused(house, client)
        await client.resume()
        assert house.asked[-2:] == ["environment.pause", "environment.continue"]
