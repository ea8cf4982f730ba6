"""Answering requests: a table of handlers becomes NATS micro endpoints.

Each request is a task of its own, with a bound; errors become replies with a code (NATS micro, ADR-32).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic

import nats.errors
import structlog
from nats import micro
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg
from nats.micro.request import Request as MicroRequest
from nats.micro.service import Service as MicroService

from skybus.bus import headers
from skybus.bus.api.health import Absence, Health, Lead, health_of
from skybus.bus.blob import Blobs
from skybus.bus.command_lines import log_done, log_refused
from skybus.bus.connection import Bus
from skybus.bus.deadlines import Deadline
from skybus.bus.endpoints import Endpoint, InternalEndpoint, Rep, Req
from skybus.bus.errors import InvalidError, SkybusError, UnavailableError, why
from skybus.bus.identity import Requester, user_token, verified_requester
from skybus.bus.in_flight import InFlight
from skybus.bus.json_values import write_json
from skybus.bus.large_bodies import read, write
from skybus.bus.large_json import EXPANSION, LARGE
from skybus.bus.messages import Empty, Message, decode_large_request, decode_request
from skybus.bus.packing import pack
from skybus.bus.parts import Parcel, Part, announced
from skybus.bus.same_request import digest_of
from skybus.bus.server_clock import server_ahead
from skybus.bus.shared_replies import Sent, Shared, SharedReplies
from skybus.bus.tasks import end_tasks
from skybus.bus.tracing import receiving
from skybus.bus.uploads import LargeReplies, Places, Upload, Uploads, new_token
from skybus.bus.version import VERSION
from skybus.bus.visible_text import visible

log = structlog.get_logger()

LONGEST_ID = 200
"""Characters of a request id."""
DRAIN = 2.0
"""Seconds that a service which ends has for what has come, and for what has been begun."""
TELL_AFTER = 0.9
"""The part of its time after which a requester is told what it waits for."""
AT_ONCE = 512
"""Requests that one process works on at the same time; more wait, as many as `in_flight` allows."""
LARGE_AT_ONCE, LARGE_EACH, LARGE_TOGETHER = 2, 8, 16
"""Requests of many kilobytes take memory: how many are worked on at the same time. Of those larger than a message: how
many are there with those that wait for their turn, of one user and of all; more are refused."""


@dataclass(frozen=True)
class Handler(Generic[Req, Rep]):
    """Who answers an endpoint."""

    endpoint: Endpoint[Req, Rep]
    answer: Callable[[Req], Awaitable[Rep | Shared[Rep]]]


@dataclass
class Call:
    """The request that is being answered."""

    requester: Requester
    request_id: str
    deadline: float | None = None
    """Unix seconds."""
    is_clock_doubtful: bool = False
    """Whether the clock of the requester may be wrong."""
    is_logged: bool = False
    """Whether the line of this command is written, or is somebody else's to write."""
    digest: str = ""
    """Of the body, where the request is done once."""

    @property
    def has_valid_id(self) -> bool:
        """Whether its id is short enough to be kept."""
        return len(self.request_id) <= LONGEST_ID

    def key(self, endpoint: Endpoint[Any, Any]) -> str:
        """What stands for this request wherever it is kept that it is done; empty for one without an id.

        An id counts for its user and endpoint only.

        Raises:
            InvalidError: the id is too long.
        """
        if not self.has_valid_id:
            raise InvalidError(f"a request id has at most {LONGEST_ID} characters, not {len(self.request_id)}")
        return f"{user_token(self.requester.user)}:{endpoint.name}:{self.request_id}" if self.request_id else ""


_Answer = Callable[[], Awaitable[Sent]]
_SERVICE = Requester(user="")
_call: ContextVar[Call] = ContextVar("call")


def current_call() -> Call:
    """Who asks, inside a handler."""
    return _call.get()


def current_deadline() -> float | None:
    """When who asks gives up, unix seconds; nothing if nobody asks or does not say."""
    call = _call.get(None)
    return call.deadline if call else None


def log_outcome(endpoint: Endpoint[Any, Any], request: Message | None, outcome: Message | SkybusError) -> None:
    """Leave the one line of the command that is being answered: it was done, or why it was not."""
    call = _call.get(None)
    if not endpoint.changes or (call and call.is_logged):
        return
    requester = call.requester.user if call else ""
    if isinstance(outcome, SkybusError):
        key = call.key(endpoint) if call and call.has_valid_id else ""
        log_refused(endpoint, requester, request, outcome, key)
    else:
        log_done(endpoint, requester, request or Empty(), outcome)
    log_nothing()


def log_by_itself() -> None:
    """Give the running task a line of its own, whatever becomes of the request that has begun it."""
    if call := _call.get(None):
        _call.set(replace(call, is_logged=False))


def log_nothing() -> None:
    """Leave no line, or no further one: what is asked for was done before, or the line is written when it is done."""
    if call := _call.get(None):
        call.is_logged = True


class Service:
    """A named set of handlers on the bus; visible under `$SRV` by that name.

    Args:
        missing: what is missing that the service needs; if given, people can ask for its health.
        lead: who leads, if several such services may be there.
        group: services of one group share the requests, those of different groups get each of them.
        stores: whether large replies go through the object store; without the right to use it they are held here.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        handlers: list[Handler[Any, Any]],
        missing: Callable[[], dict[str, Absence]] | None = None,
        lead: Callable[[], Awaitable[Lead | None]] | None = None,
        group: str = "q",
        *,
        stores: bool = True,
    ) -> None:
        self._bus = bus
        self._blobs = Blobs(bus) if stores else None
        self._process = uuid.uuid4().hex
        """Names this process in the subjects of parts."""
        self._uploads = Uploads[Handler[Any, Any]](bus.max_request)
        self._shared_replies = SharedReplies(bus)
        self._large_replies = LargeReplies(bus.max_internal)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._places_of_large = Places(LARGE_EACH, LARGE_TOGETHER)
        self._name = name
        self._group = group
        self._handlers = [*handlers, *([_health(bus, name, missing, lead)] if missing else [])]
        self._service: MicroService | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._in_flight = InFlight(bus.share)
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
        await self._shared_replies.end()

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

        for subject, is_internal in self._part_subjects().items():
            await connection.subscribe(subject, cb=self._part_receiver(is_internal=is_internal))

    def _part_subjects(self) -> dict[str, bool]:
        """Where parts come to that belong to this process, and whether from services."""
        subjects, name = self._bus.subjects, f"part.{self._process}.*"
        endpoints = [handler.endpoint for handler in self._handlers]
        internal = [endpoint for endpoint in endpoints if isinstance(endpoint, InternalEndpoint)]
        places = {subjects.internal(f"{endpoint.name.partition('.')[0]}.{name}"): True for endpoint in internal}
        return places if len(internal) == len(endpoints) else {**places, subjects.commands(name): False}

    def _receiver(self, handler: Handler[Any, Any]) -> Callable[[MicroRequest], Awaitable[None]]:
        async def receive(request: MicroRequest) -> None:
            is_internal = isinstance(handler.endpoint, InternalEndpoint)
            await self._begin(handler.endpoint.name, request, lambda: self._receive(handler, request), is_internal)

        return receive

    def _part_receiver(self, *, is_internal: bool) -> Callable[[Msg], Awaitable[None]]:
        async def receive(message: Msg) -> None:
            request = MicroRequest(message)
            await self._begin("part", request, lambda: self._receive_part(request, is_internal), is_internal)

        return receive

    async def _begin(self, what: str, request: MicroRequest, answer: _Answer, is_internal: bool) -> None:
        await self._bus.wait_connected()  # the connection may still be being set up, and handlers need it
        task = asyncio.create_task(self._answer(what, request, answer, is_internal))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, what: str, request: MicroRequest, answer: _Answer, is_internal: bool) -> None:
        head = request.headers or {}
        structlog.contextvars.bind_contextvars(request_id=head.get(headers.REQUEST_ID))  # of this task only
        with receiving(what, head):
            try:
                with self._in_hand(request, head, is_internal):
                    async with self._places:
                        body, reply_head = await answer()
                    await request.respond(body, headers=reply_head)
            except SkybusError as error:
                log.debug("request refused", endpoint=what, code=error.code, reason=error.message)
                await self._refuse(request, error)
            except (nats.errors.Error, OSError) as error:  # the asker is told by its own connection
                log.warning("a reply could not be sent", endpoint=what, error=str(error))

    def _in_hand(self, request: MicroRequest, head: dict[str, str], is_internal: bool) -> AbstractContextManager[None]:
        """Count a request of a user as long as it is in hand; services ask no more than users have asked them.

        Raises:
            TooManyError: the user has too much in hand.
            DeniedError: nobody can be verified.
        """
        if is_internal:
            return nullcontext()
        return self._in_flight.take(verified_requester(request.subject, head).user, len(request.data))

    async def _receive(self, handler: Handler[Any, Any], request: MicroRequest) -> Sent:
        """Answer a request, or its first part."""
        head, is_internal = request.headers or {}, isinstance(handler.endpoint, InternalEndpoint)
        with _logging_refusal(handler.endpoint):
            call = _receive_call(request, head, is_internal=is_internal)
            part = announced(head)
            if part is None:
                return await self._sent(await self._answer_message(handler, request.data))
            limit = self._bus.max_internal if is_internal else self._bus.max_request
            parcel = Parcel(handler.endpoint.name, part, limit)
            parcel.add(part, request.data)
            if parcel.is_whole:
                return await self._answer_large(handler, parcel)
            token = new_token(self._process)
            self._uploads.hold(token, Upload(handler, call.requester.user, parcel), call.deadline)
            return _more(token)

    async def _receive_part(self, request: MicroRequest, is_internal: bool) -> Sent:
        """Take a further part of a request, and answer the last one; or give a part of a reply."""
        head, token = request.headers or {}, ".".join(request.subject.split(".")[-2:])
        call = _receive_call(request, head, is_internal=is_internal)
        part, user = announced(head) or Part(0, 0, 0), call.requester.user
        if reply := self._large_replies.part(token, user, part.offset, self._bus.payload_limit):
            return reply[0], {headers.KIND: headers.REPLY, **reply[1]}
        upload = self._uploads.find(token, user)
        with _logging_refusal(upload.purpose.endpoint):
            try:
                upload.parcel.add(part, request.data)
            except InvalidError:
                self._uploads.end(token)
                raise
            if not upload.parcel.is_whole:
                self._uploads.hold(token, upload, call.deadline)
                return _more(token)
            self._uploads.end(token)
            return await self._answer_large(upload.purpose, upload.parcel)

    async def _answer_message(self, handler: Handler[Any, Any], body: bytes) -> bytes | Shared[Any]:
        if len(body) < LARGE:
            return await self._result(handler, body)
        async with self._large:
            Deadline(current_deadline()).require()
            return await self._result(handler, body)

    async def _answer_large(self, handler: Handler[Any, Any], parcel: Parcel) -> Sent:
        with self._places_of_large.take(current_call().requester.user):
            async with self._large:
                Deadline(current_deadline()).require()
                result = await self._result(handler, await asyncio.to_thread(parcel.unpacked))
        return await self._sent(result)

    async def _result(self, handler: Handler[Any, Any], body: bytes) -> bytes | Shared[Any]:
        endpoint, message = handler.endpoint, None
        try:
            message = await self._read(endpoint, body)
            if endpoint.changes:
                current_call().digest = await digest_of(body)
            answer = await handler.answer(message)
            if isinstance(answer, Shared):
                return answer
            log_outcome(endpoint, message, answer)
            return await write(answer)
        except SkybusError as error:
            log_outcome(endpoint, message, error)
            raise
        except Exception as error:
            log.exception("request failed", endpoint=endpoint.name)
            failure = SkybusError(f"{endpoint.name} failed inside the {self._name} service; see its log")
            log_outcome(endpoint, message, failure)
            raise failure from error

    async def _read(self, endpoint: Endpoint[Req, Any], body: bytes) -> Req:
        """Read a request; a large one beside the event loop."""
        if len(body) < LARGE:
            return decode_request(endpoint.request, body)
        largest = self._bus.max_internal if isinstance(endpoint, InternalEndpoint) else self._bus.max_request
        return await read(partial(decode_large_request, most=EXPANSION * largest), endpoint.request, body)

    async def _refuse(self, request: MicroRequest, error: SkybusError) -> None:
        line = " ".join(error.message.split())[:500]
        try:
            body, head = await self._sent_refusal(error, line)
            await request.respond_error(error.code, line, body, headers=head)
        except (nats.errors.Error, OSError, ValueError) as failure:
            log.warning("a refusal could not be sent", code=error.code, error=str(failure))

    async def _sent_refusal(self, error: SkybusError, line: str) -> Sent:
        try:
            return await self._sent(write_json({"msg": error.message, "details": error.details}, str))
        except (UnavailableError, InvalidError) as failure:
            log.warning("a refusal is sent without its details", code=error.code, reason=failure.message)
            return await self._sent(write_json({"msg": f"{visible(line)} (without details: {failure.message})"}))

    async def _sent(self, body: bytes | Shared[Any]) -> Sent:
        """What is sent of a body, and with which headers.

        Raises:
            UnavailableError: it is larger than a message, and is not stored while the requester waits.
        """
        if isinstance(body, Shared):
            return await self._sent_shared(body)
        head = {headers.KIND: headers.REPLY, **_clock()}
        if len(body) <= self._bus.payload_limit:
            return body, head
        if self._blobs is None:
            return await self._held(body, head)
        with _storing():
            async with _while_asker_waits():
                return b"", {**head, headers.BLOB: await self._blobs.store(body)}

    async def _sent_shared(self, shared: Shared[Any]) -> Sent:
        async def send() -> Sent:
            return await self._sent(await shared.written())

        if self._blobs is None:  # what is held here is for one user
            return await send()
        with _storing():
            async with _while_asker_waits():
                return await self._shared_replies.sent(shared, send)

    async def _held(self, body: bytes, head: dict[str, str]) -> Sent:
        """Hold a reply here, and send its first part."""
        packed = await asyncio.to_thread(pack, body)
        token, user = new_token(self._process), current_call().requester.user
        self._large_replies.hold(token, packed, len(body), user)
        first = self._large_replies.part(token, user, 0, self._bus.payload_limit)
        assert first
        return first[0], {**head, **first[1]}


@contextmanager
def _logging_refusal(endpoint: Endpoint[Any, Any]) -> Iterator[None]:
    """Leave the line of a command that is refused before it is read; one that has its line gets no other."""
    try:
        yield
    except SkybusError as error:
        log_outcome(endpoint, None, error)
        raise


@contextmanager
def _storing() -> Iterator[None]:
    """Say that a reply is not stored, or not before its requester gives up."""
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        raise UnavailableError(f"the answer is larger than a message, and not stored: {why(error)}") from error


def _while_asker_waits() -> asyncio.Timeout:
    deadline = current_deadline()
    return asyncio.timeout(None if deadline is None else (deadline - time.time()) * TELL_AFTER)


def _more(token: str) -> Sent:
    """The answer to a part that is not the last one."""
    return b"", {headers.KIND: headers.REPLY, headers.MORE: token}


def _health(
    bus: Bus,
    name: str,
    missing: Callable[[], dict[str, Absence]],
    lead: Callable[[], Awaitable[Lead | None]] | None,
) -> Handler[Empty, Health]:
    since = time.time()

    async def answer(_: Empty) -> Health:
        leads, ahead = await lead() if lead else None, await server_ahead(bus)
        return Health(
            service=name,
            since=since,
            missing=missing(),
            lead=leads,
            tasks=len(asyncio.all_tasks()),
            now=time.time(),
            server_ahead=ahead,
            loop_delay=bus.loop_delay.largest(),
        )

    return Handler(health_of(name), answer)


def _receive_call(request: MicroRequest, head: dict[str, str], *, is_internal: bool) -> Call:
    """Make a request the one that this task answers.

    Raises:
        DeniedError: nobody can be verified.
        UnavailableError: it comes after its deadline, or nobody knows.
    """
    requester = _SERVICE if is_internal else verified_requester(request.subject, head)
    deadline = Deadline.of(head)
    call = Call(requester, head.get(headers.REQUEST_ID, ""), deadline.at, deadline.is_doubtful)
    _call.set(call)
    deadline.require()
    return call


def _clock() -> dict[str, str]:
    """The time, for a requester whose clock may be wrong."""
    call = _call.get(None)
    return {headers.CLOCK: f"{time.time():.3f}"} if call and call.is_clock_doubtful else {}
