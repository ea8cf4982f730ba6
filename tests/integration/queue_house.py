"""The queue service for the property test: inside the process over a real Valkey, or over a real bus as well."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import orjson
from redis.asyncio import Redis

from skybus.bus.api.environment import ENVIRONMENT_OPEN
from skybus.bus.api.internal import (
    EnvironmentExited,
    EnvironmentOpen,
    EnvironmentOpened,
    EnvironmentPhase,
    EnvironmentState,
    ItemsCheck,
    ItemsChecked,
    LifeReport,
    PlanAccepted,
    PlanReport,
    PlanRun,
    WorkerState,
)
from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.endpoints import Endpoint
from skybus.bus.identity import Requester
from skybus.bus.in_flight import Share
from skybus.bus.messages import Message, Nothing, decode, decode_request, encode
from skybus.bus.packing import MAX_REQUEST
from skybus.bus.service import Call, _call
from skybus.bus.shared_replies import Shared
from skybus.bus.subjects import Subjects
from skybus.queue.service import QueueService
from skybus.queue.settings import QueueSettings
from skybus.queue.store import Store
from tests.integration.queue_fixtures import StandIns, queue_service
from tests.integration.queue_model import QueueModel
from tests.promises import PATIENCE
from tests.servers import NatsServer, Valkey

_READ = """
local name = function(key) return KEYS[1] .. key end
return {
  redis.call('ZRANGE', name('queue'), 0, -1), redis.call('HGETALL', name('items')), redis.call('GET', name('running')),
  redis.call('GET', name('flags')), redis.call('LRANGE', name('history'), 0, -1)
}
"""


class Stored(NamedTuple):
    """What is in Redis, read past the service."""

    queue: list[dict[str, Any]]
    running: dict[str, Any]
    flags: dict[str, Any]
    history: list[dict[str, Any]]


async def read_stored(redis: Redis, prefix: str) -> Stored:
    order, items, running, flags, history = await redis.eval(_READ, 1, prefix)
    by_uid = dict(zip(items[::2], items[1::2], strict=True)) if isinstance(items, list) else items
    assert set(by_uid) == set(order)
    return Stored(
        queue=[orjson.loads(by_uid[uid]) for uid in order],
        running=orjson.loads(running or b"{}"),
        flags=orjson.loads(flags or b"{}"),
        history=[orjson.loads(item) for item in history],
    )


class Worker(Protocol):
    """Who stands in for the worker."""

    environment_id: str | None


class House(ABC):
    """A queue service, and a worker and an environment that do as they are told."""

    def __init__(self, redis: Redis, prefix: str, worker: Worker) -> None:
        self._redis = redis
        self._prefix = prefix
        self._worker = worker

    @property
    def environment_id(self) -> str | None:
        return self._worker.environment_id

    @property
    @abstractmethod
    def orders(self) -> list[PlanRun]:
        """What the environment was told to run, also twice."""

    @abstractmethod
    async def call(self, endpoint: Endpoint[Any, Any], fields: dict[str, Any], request_id: str = "") -> Any:
        """Ask as a client."""

    @abstractmethod
    async def report(self, report: LifeReport) -> None:
        """Let the worker or the environment tell something."""

    @abstractmethod
    async def restart(self) -> None:
        """Begin again from what is in Redis."""

    @abstractmethod
    async def settled(self, model: QueueModel) -> None:
        """Wait until the service has done what was reported to it."""

    async def stored(self) -> Stored:
        """What is in Redis."""
        return await read_stored(self._redis, self._prefix)

    async def open(self) -> None:
        """Have an environment opened."""
        await self.call(ENVIRONMENT_OPEN, {})
        assert self.environment_id
        await self.report(EnvironmentOpened(environment_id=self.environment_id, success=True))

    async def lose(self) -> None:
        """Let the environment die; when there is none, its death is told once more."""
        await self.report(EnvironmentExited(environment_id=self.environment_id or "before", exit_code=-9, msg="killed"))
        self._worker.environment_id = None

    def ended(self, attempt: str, item_uid: str, exit_status: str) -> PlanReport:
        """A report of an attempt."""
        return PlanReport.model_validate(
            {
                "environment_id": self.environment_id or "before",
                "attempt": attempt,
                "item_uid": item_uid,
                "exit_status": exit_status,
                "run_uids": [f"run of {item_uid}"],
                "scan_ids": [1],
                "time_start": time.time(),
                "time_stop": time.time(),
                "msg": exit_status,
            }
        )


class _Within:
    """Stands in for the bus, the worker, the environment and auth: a call is answered here and now."""

    def __init__(self) -> None:
        self.subjects = Subjects("sim")
        self.max_request = self.max_internal = MAX_REQUEST
        self.share = Share()
        self.on_connect: list[Any] = []
        self.on_disconnect: list[Any] = []
        self.environment_id: str | None = None
        self.orders: list[PlanRun] = []
        self.has_order = asyncio.Event()
        empty = SimpleNamespace(state=SimpleNamespace(messages=0))
        drained = SimpleNamespace(num_pending=0, num_ack_pending=0)
        self.jetstream = SimpleNamespace(stream_info=lambda *_: _done(empty), consumer_info=lambda *_: _done(drained))

    async def call(self, endpoint: Endpoint[Any, Any], request: Any, **_: Any) -> Any:
        match request:
            case EnvironmentOpen():
                self.environment_id = request.environment_id
                return Nothing()
            case PlanRun():
                self.orders.append(request)
                self.has_order.set()
                return PlanAccepted(outcome="started")
            case ItemsCheck():
                return ItemsChecked(user="operator", user_group="root", problems=[None] * len(request.items))
        return self._told(endpoint.reply)

    async def publish(self, subject: str, message: Message) -> None:
        pass

    def _told(self, reply: type[Message]) -> Message:
        if reply is WorkerState:
            return WorkerState(environment_id=self.environment_id)
        if reply is EnvironmentState:
            assert self.environment_id
            return EnvironmentState(environment_id=self.environment_id, revision=1, phase=EnvironmentPhase.IDLE)
        return reply.model_validate(dict.fromkeys(reply.model_fields, "1"))


async def _done(value: Any) -> Any:
    return value


class InProcess(House):
    """Handlers, manager, keeper and store of the service over Valkey; what would cross the bus stays in the process."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._bus = _Within()
        self._keeping: asyncio.Task[None] | None = None
        super().__init__(redis, prefix, self._bus)

    @property
    def orders(self) -> list[PlanRun]:
        return self._bus.orders

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self._start()
        try:
            yield
        finally:
            await self._stop()

    async def call(self, endpoint: Endpoint[Any, Any], fields: dict[str, Any], request_id: str = "") -> Any:
        _call.set(Call(Requester(user="operator"), request_id))
        request = decode_request(endpoint.request, orjson.dumps(fields))
        answer = await self._answers[endpoint.name](request)
        return decode(endpoint.reply, await answer.written() if isinstance(answer, Shared) else encode(answer))

    async def report(self, report: LifeReport) -> None:
        await self._service._manager.handle_report(report)

    async def restart(self) -> None:
        await self._stop()
        await self._start()

    async def settled(self, model: QueueModel) -> None:
        async with asyncio.timeout(PATIENCE):
            while len({order.attempt for order in self.orders}) < model.begun:
                self._bus.has_order.clear()
                await self._bus.has_order.wait()

    async def _start(self) -> None:
        self._service = QueueService(Store(self._redis, self._prefix), self._bus, QueueSettings())
        self._answers = {handler.endpoint.name: handler.answer for handler in self._service._service._handlers}
        self._service._witness.is_heard = True  # there is no JetStream
        await self._service._surroundings.take_over(self._service._begin)
        self._keeping = asyncio.create_task(self._service._keeper.run())
        await self._service._surroundings.ask()

    async def _stop(self) -> None:
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})


class OverTheBus(House):
    """The whole service on NATS and Valkey."""

    def __init__(self, nats: NatsServer, valkey: Valkey, stand_ins: StandIns, bus: Bus, client: Any) -> None:
        self._nats, self._valkey, self._stand_ins, self._bus, self._client = nats, valkey, stand_ins, bus, client
        self._living: Any = None
        self._orders: list[PlanRun] = []
        super().__init__(Redis.from_url(valkey.url, protocol=3), "sky:sim:", stand_ins)

    @property
    def orders(self) -> list[PlanRun]:
        return self._orders

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self._start()
        try:
            yield
        finally:
            await self._living.__aexit__(None, None, None)
            await self._redis.aclose()

    async def call(self, endpoint: Endpoint[Any, Any], fields: dict[str, Any], request_id: str = "") -> Any:
        body = await self._bus.call_bytes(endpoint, orjson.dumps(fields), request_id=request_id or None)
        return decode(endpoint.reply, body)

    async def report(self, report: LifeReport) -> None:
        await self._stand_ins.report(report.kind, report)

    async def restart(self) -> None:
        await self._living.__aexit__(None, None, None)
        await self._start()

    async def settled(self, model: QueueModel) -> None:
        await self._client.wait(lambda status: _agrees(status, model), timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while len({order.attempt for order in self.orders}) < model.begun:
                self._orders.append(await self._stand_ins.orders.get())

    async def _start(self) -> None:
        self._living = queue_service(self._nats, self._valkey)
        await self._living.__aenter__()
        await self._client.wait(lambda status: status.manager_state != "initializing", timeout=PATIENCE)


def _agrees(status: Status, model: QueueModel) -> bool:
    return (
        (status.items_in_queue, status.items_in_history) == (len(model.queue), len(model.history))
        and status.worker_environment_exists == model.environment_exists
        and status.manager_state == ("executing_queue" if model.running else "idle")
    )
