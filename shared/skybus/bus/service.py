"""Answering requests: a table of handlers becomes NATS micro endpoints.

Each request is a task of its own, with a bound; errors become replies with a code (NATS micro, ADR-32).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic

import nats.errors
import orjson
import structlog
from nats import micro
from nats.aio.client import Client as Connection
from nats.micro.request import Request as MicroRequest
from nats.micro.service import Service as MicroService

from skybus.bus import headers
from skybus.bus.api.health import Absence, Health, Lead, health_of
from skybus.bus.blob import Blobs
from skybus.bus.connection import Bus
from skybus.bus.endpoints import Endpoint, InternalEndpoint, Rep, Req
from skybus.bus.errors import InvalidError, SkybusError, UnavailableError, why
from skybus.bus.identity import Requester, user_token, verified_requester
from skybus.bus.messages import Empty, decode_request, encode
from skybus.bus.tasks import end_tasks
from skybus.bus.tracing import receiving
from skybus.bus.version import VERSION

log = structlog.get_logger()

LONGEST_ID = 200
"""Characters of a request id."""
DRAIN = 2.0
"""Seconds that a service which ends has for what has come, and for what has been begun."""
TELL_AFTER = 0.9
"""The part of its time after which a requester is told what it waits for."""
AT_ONCE = 512
"""Requests that one process works on at the same time; more wait in the subscription."""


@dataclass(frozen=True)
class Handler(Generic[Req, Rep]):
    """Who answers an endpoint."""

    endpoint: Endpoint[Req, Rep]
    answer: Callable[[Req], Awaitable[Rep]]


@dataclass(frozen=True)
class Call:
    """The request that is being answered."""

    requester: Requester
    request_id: str
    deadline: float | None = None
    """Unix seconds."""

    def key(self, endpoint: Endpoint[Any, Any]) -> str:
        """What stands for this request wherever it is kept that it is done; empty for one without an id.

        An id counts for its user and endpoint only.

        Raises:
            InvalidError: the id is too long.
        """
        if len(self.request_id) > LONGEST_ID:
            raise InvalidError(f"a request id has at most {LONGEST_ID} characters, not {len(self.request_id)}")
        return f"{user_token(self.requester.user)}:{endpoint.name}:{self.request_id}" if self.request_id else ""


_SERVICE = Requester(user="")
_call: ContextVar[Call] = ContextVar("call")


def current_call() -> Call:
    """Who asks, inside a handler."""
    return _call.get()


def current_deadline() -> float | None:
    """When who asks gives up, unix seconds; nothing if nobody asks or does not say."""
    call = _call.get(None)
    return call.deadline if call else None


class Service:
    """A named set of handlers on the bus; visible under `$SRV` by that name.

    Args:
        missing: what is missing that the service needs; if given, people can ask for its health.
        lead: who leads, if several such services may be there.
        group: services of one group share the requests, those of different groups get each of them.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        handlers: list[Handler[Any, Any]],
        missing: Callable[[], dict[str, Absence]] | None = None,
        lead: Callable[[], Awaitable[Lead | None]] | None = None,
        group: str = "q",
    ) -> None:
        self._bus = bus
        self._blobs = Blobs(bus)
        self._name = name
        self._group = group
        self._handlers = [*handlers, *([_health(name, missing, lead)] if missing else [])]
        self._service: MicroService | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        bus.on_connect.append(self._serve_on)

    async def drain(self) -> None:
        """Take no more requests, and finish what has been begun."""
        with suppress(nats.errors.Error, OSError):  # without a connection nothing more comes
            async with asyncio.timeout(DRAIN):
                await self._stop_listening()
        if self._running:
            await asyncio.wait(self._running, timeout=DRAIN)
        await self.give_up()

    async def give_up(self) -> None:
        """End what has been begun, finished or not."""
        await end_tasks(self._running)

    async def _stop_listening(self) -> None:
        """Have the server send nothing more; what it has sent is begun."""
        for endpoint in self._service._endpoints if self._service else ():
            if endpoint._subscription:
                await endpoint._subscription.drain()  # the service's `stop` would discard what has come

    async def _serve_on(self, connection: Connection) -> None:
        service = self._service = await micro.add_service(
            connection,
            name=f"skybus-{self._name}",
            version=VERSION,
            queue_group=self._group,
            metadata={"instrument": self._bus.subjects.inst},
        )
        for handler in self._handlers:
            await service.add_endpoint(
                name=handler.endpoint.name.replace(".", "-"),
                subject=handler.endpoint.pattern(self._bus.subjects),
                handler=self._receiver(handler),
            )

    def _receiver(self, handler: Handler[Any, Any]) -> Callable[[MicroRequest], Awaitable[None]]:
        async def receive(request: MicroRequest) -> None:
            await self._bus.wait_connected()  # the connection may still be being set up, and handlers need it
            await self._places.acquire()
            task = asyncio.create_task(self._answer(handler, request))
            self._running.add(task)
            task.add_done_callback(self._done)

        return receive

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._places.release()

    async def _answer(self, handler: Handler[Any, Any], request: MicroRequest) -> None:
        head = request.headers or {}
        structlog.contextvars.bind_contextvars(request_id=head.get(headers.REQUEST_ID))  # of this task only
        with receiving(handler.endpoint.name, head):
            try:
                await self._reply(request, await self._result(handler, request, head))
            except SkybusError as error:
                await self._refuse(request, error)
            except (nats.errors.Error, OSError) as error:  # the asker is told by its own connection
                log.warning("a reply could not be sent", endpoint=handler.endpoint.name, error=str(error))

    async def _result(self, handler: Handler[Any, Any], request: MicroRequest, head: dict[str, str]) -> bytes:
        endpoint = handler.endpoint
        _call.set(_received(request, head, is_internal=isinstance(endpoint, InternalEndpoint)))
        try:
            message = decode_request(endpoint.request, request.data)
            return encode(await handler.answer(message))
        except SkybusError as error:
            log.debug("request refused", endpoint=endpoint.name, code=error.code, reason=error.message)
            raise
        except Exception as error:
            log.exception("request failed", endpoint=endpoint.name)
            raise SkybusError(f"{endpoint.name} failed inside the {self._name} service; see its log") from error

    async def _reply(self, request: MicroRequest, body: bytes) -> None:
        body, head = await self._sent(body)
        await request.respond(body, headers=head)

    async def _refuse(self, request: MicroRequest, error: SkybusError) -> None:
        line = " ".join(error.message.split())[:500]
        try:
            body, head = await self._sent_refusal(error, line)
            await request.respond_error(error.code, line, body, headers=head)
        except (nats.errors.Error, OSError, ValueError) as failure:
            log.warning("a refusal could not be sent", code=error.code, error=str(failure))

    async def _sent_refusal(self, error: SkybusError, line: str) -> tuple[bytes, dict[str, str]]:
        body = orjson.dumps({"msg": error.message, "details": error.details}, default=str)
        try:
            return await self._sent(body)
        except UnavailableError as failure:
            log.warning("a refusal is sent without its details", code=error.code, reason=failure.message)
            return await self._sent(orjson.dumps({"msg": f"{line} (without details: {failure.message})"}))

    async def _sent(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        """What is sent of a body, and with which headers.

        Raises:
            UnavailableError: it is larger than a message, and is not stored while the requester waits.
        """
        head = {headers.KIND: headers.REPLY}
        if len(body) <= self._bus.payload_limit:
            return body, head
        deadline = current_deadline()
        try:
            async with asyncio.timeout(None if deadline is None else (deadline - time.time()) * TELL_AFTER):
                return b"", {**head, headers.BLOB: await self._blobs.store(body)}
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(f"the answer is larger than a message, and not stored: {why(error)}") from error


def _health(
    name: str, missing: Callable[[], dict[str, Absence]], lead: Callable[[], Awaitable[Lead | None]] | None
) -> Handler[Empty, Health]:
    since = time.time()

    async def answer(_: Empty) -> Health:
        leads = await lead() if lead else None
        return Health(service=name, since=since, missing=missing(), lead=leads, tasks=len(asyncio.all_tasks()))

    return Handler(health_of(name), answer)


def _received(request: MicroRequest, head: dict[str, str], *, is_internal: bool) -> Call:
    deadline = _deadline(head)
    if deadline is not None and time.time() > deadline:
        raise UnavailableError("the request arrived after its deadline and was not carried out")
    requester = _SERVICE if is_internal else verified_requester(request.subject, head)
    return Call(requester, head.get(headers.REQUEST_ID, ""), deadline)


def _deadline(head: dict[str, str]) -> float | None:
    value = head.get(headers.DEADLINE, "")
    return int(value) / 1000 if value.isascii() and value.isdigit() and len(value) < 16 else None
