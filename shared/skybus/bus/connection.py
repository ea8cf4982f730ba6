"""The one piece between skybus and nats-py: a connection that is rebuilt for as long as its owner lives.

nats-py's own reconnect is switched off. It keeps what is sent meanwhile and delivers it after the caller has given up,
gives a connection up for good in some cases, and leaves watchers silent for long. Here a lost connection is over: what
waits for an answer fails at once with `UnavailableError`, what is asked meanwhile is refused, and a new connection gets
all subscriptions again.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import nats.errors
import structlog
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js import JetStreamContext

from skybus.bus import blob, headers
from skybus.bus.deadlines import ServiceClock
from skybus.bus.endpoints import Endpoint, InternalEndpoint, Rep, Req
from skybus.bus.errors import NotSentError, SkybusError, UnavailableError, error_from_wire, why
from skybus.bus.identity import user_token
from skybus.bus.in_flight import Share
from skybus.bus.json_values import read_json
from skybus.bus.large_bodies import read, write
from skybus.bus.loop_delay import LoopDelay
from skybus.bus.messages import Message, decode, encode
from skybus.bus.packing import MAX_REQUEST, PEOPLE_PAYLOAD, pack
from skybus.bus.parts import Parcel, Part, announced, extra_time, following
from skybus.bus.requests import Accepts, Requests
from skybus.bus.settings import Access
from skybus.bus.subjects import Subjects
from skybus.bus.tracing import sending, trace_headers

log = structlog.get_logger()

PATIENCE = 5.0
"""Seconds that a service has to answer, unless the caller says otherwise."""
HEADER_ROOM = 4096
"""Bytes kept free for headers below the server's `max_payload`."""
PING_EVERY = 2
"""Seconds; a server that has not answered two of these is lost, such as one whose machine has lost its power."""
_CORRECTIONS = 2
"""Times that a request is sent again because our clock was wrong; services on several machines may disagree."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_DENIED_PUBLISH = re.compile(r'permissions violation for publish to "([^"]+)"', re.IGNORECASE)

T = TypeVar("T")
OnMessage = Callable[[Msg], Awaitable[None]]
OnConnect = Callable[[Connection], Awaitable[None]]


@dataclass
class Subscription:
    """A subject, and the coroutine function that gets its messages one after the other."""

    subject: str
    on_message: OnMessage
    queue: str = ""
    live: NatsSubscription | None = None
    """Of the living connection."""


@dataclass
class Bus:
    """A connection to NATS under one name.

    Args:
        name: how the server's monitoring shows it.
        access: read anew for each connection, so that a server that has moved is found. Of a cluster's servers any is
            taken, so that the next connection is to another when one has died.
    """

    name: str
    subjects: Subjects
    access: Callable[[], Access]
    replicas: int = 1
    """Copies that each stream and bucket is to have."""
    max_request: int = MAX_REQUEST
    """Bytes of a request of a user that a service takes."""
    share: Share = field(default_factory=Share)
    """The most requests and bytes of one user that a service works on."""
    loop_delay: LoopDelay = field(default_factory=LoopDelay)
    """Of the event loop that this connection shares with its service; measured by whoever runs the service."""
    on_connect: list[OnConnect] = field(default_factory=list)
    """Done on each new connection, after the subscriptions and before `wait_connected` returns."""
    on_disconnect: list[Callable[[], None]] = field(default_factory=list)
    _subscriptions: list[Subscription] = field(default_factory=list)
    _connection: Connection | None = None
    _requests: Requests | None = None
    _user: str = ""
    _max_payload: int = 1 << 20
    """Bytes; the default of a NATS server until one has said what it takes."""
    _lost: asyncio.Future[None] = field(default_factory=asyncio.Future)
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _why: str = "not connected yet"
    _clock: ServiceClock = field(default_factory=ServiceClock)

    @property
    def is_connected(self) -> bool:
        """Whether a request would be sent now."""
        return self._up.is_set()

    @property
    def connection(self) -> Connection:
        """The living connection.

        Raises:
            NotSentError: there is none.
        """
        if self._connection is None:
            raise NotSentError(f"not connected to NATS: {self._why}")
        return self._connection

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream of the living connection."""
        return self.connection.jetstream()

    @property
    def user(self) -> str:
        """Who we are on the bus."""
        return self._user

    @property
    def descriptors(self) -> list[int]:
        """The connection's socket, for owners that must keep it from their children."""
        writer = getattr(self._connection and self._connection._transport, "_io_writer", None)
        sock = writer and writer.get_extra_info("socket")
        return [sock.fileno()] if sock else []

    @property
    def payload_limit(self) -> int:
        """The most bytes that a body may have; without a connection, that of the last one."""
        return self._max_payload - HEADER_ROOM

    @property
    def why_not(self) -> str:
        """Why there is no connection, as far as is known."""
        return self._why

    async def wait_connected(self) -> None:
        """Wait until requests can be sent."""
        await self._up.wait()

    async def settle(self) -> None:
        """Wait until the server has taken everything that was sent, and all subscriptions; one `flush` does not."""
        await settle(self.connection)

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for something that would wait for ever if the connection it uses were lost.

        Raises:
            UnavailableError: the connection was lost before the work was done.
        """
        task, lost = asyncio.ensure_future(work), self._lost
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise UnavailableError("the connection to NATS was lost")
            return task.result()
        finally:
            if task.cancel():
                task.add_done_callback(_read_outcome)  # nats-py may answer the cancellation with an error of its own

    async def run(self) -> None:
        """Hold the connection until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._hold()
                pause = _FIRST_PAUSE
            except nats.errors.NoServersError:  # the reason has come to _on_error
                pass
            except (OSError, nats.errors.Error, UnavailableError, TimeoutError) as error:
                self._report(error)
            _heed_cancellation()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def subscribe(self, subject: str, on_message: OnMessage, *, queue: str = "") -> Subscription:
        """Receive messages of a subject, on this connection and all that follow."""
        subscription = Subscription(subject, on_message, queue)
        self._subscriptions.append(subscription)
        if self._connection is not None:
            with suppress(nats.errors.Error, OSError):  # it ends just now: the next one gets all subscriptions
                await self._restore(self._connection, subscription)
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Receive no more messages of a subscription."""
        self._subscriptions.remove(subscription)
        live, subscription.live = subscription.live, None
        if live is not None and self._connection is not None:
            with suppress(nats.errors.Error, OSError):  # a connection that ends takes its subscriptions along
                await live.unsubscribe()

    @property
    def max_internal(self) -> int:
        """Bytes of what services send each other.

        They send what has passed the bound of a request, written anew: `1e15` becomes `1000000000000000.0`.
        """
        return 4 * self.max_request

    async def call(
        self,
        endpoint: Endpoint[Req, Rep],
        request: Req,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it becomes the deadline that travels with the request
        request_id: str | None = None,
    ) -> Rep:
        """Send a request and wait for its reply.

        Args:
            endpoint: what is called.
            request: what it is told.
            timeout: seconds; by default five, and more for a request of megabytes.
            request_id: one for each intention.

        Raises:
            UnavailableError: not connected, nobody answers, or no answer within `timeout` seconds.
            TooLargeError: the request is larger than the service allows.
            SkybusError: what the service has raised, as the class that it has raised.
        """
        body = await self.call_bytes(endpoint, await write(request), timeout=timeout, request_id=request_id)
        return await read(decode, endpoint.reply, body)

    async def call_bytes(
        self,
        endpoint: Endpoint[Req, Rep],
        body: bytes,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        request_id: str | None = None,
    ) -> bytes:
        """Send a request that is JSON already and return the reply's JSON; otherwise as `call`."""
        seconds = PATIENCE + extra_time(len(body)) if timeout is None else timeout
        head = {headers.REQUEST_ID: request_id or uuid.uuid4().hex}
        with sending(endpoint.name, head):
            end, corrections = time.monotonic() + seconds, 0
            while True:
                known = self._clock.ahead
                try:
                    return await self._called(endpoint, body, head, end)
                except UnavailableError:
                    if self._clock.ahead == known or corrections == _CORRECTIONS:
                        raise
                    corrections += 1  # the deadline was wrong: at once again, under the same id

    async def _called(self, endpoint: Endpoint[Req, Rep], body: bytes, head: dict[str, str], end: float) -> bytes:
        """Send a request once, and return the body of its reply."""
        if len(body) <= self._request_limit(endpoint):
            message = await self._send_part(endpoint, body, head, end)
        else:
            message = await self._send_parts(endpoint, body, head, end)
        return await self._body(message, endpoint, end)

    async def publish(self, subject: str, message: Message) -> None:
        """Send an event; nobody may be listening."""
        await self.connection.publish(
            subject, encode(message), headers={headers.KIND: headers.EVENT, **trace_headers()}
        )

    async def request_raw(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float = 5.0,  # noqa: ASYNC109
        accepts: Accepts = lambda _: True,
    ) -> Msg:
        """Send a request outside the endpoints, such as to JetStream's API, and wait for an answer of that kind."""
        return await self._live_requests().send(subject, data, {}, timeout, accepts)

    def _live_requests(self) -> Requests:
        if self._requests is None or not self.is_connected:
            raise NotSentError(f"not connected to NATS: {self._why}")
        return self._requests

    async def _send_parts(self, endpoint: Endpoint[Req, Rep], body: bytes, head: dict[str, str], end: float) -> Msg:
        """Send a body that is larger than a message; the answer to the last part is the reply."""
        packed = await asyncio.to_thread(pack, body)
        offset, place, limit = 0, endpoint, self._request_limit(endpoint)
        while True:
            if time.monotonic() >= end:
                raise NotSentError(f"{endpoint.name}: its time was over before the request was sent as a whole")
            data = packed[offset : offset + limit]
            is_last = offset + len(data) == len(packed)
            head = {**head, headers.PART: Part(offset, len(packed), len(body)).header()}
            if is_last:
                return await self._send_part(place, data, head, end)
            try:
                message = await self._send_part(place, data, head, end, longest=PATIENCE + extra_time(len(data)))
                if headers.MORE not in (message.headers or {}):
                    await self._body(message, endpoint, end)
                    raise SkybusError(f"{endpoint.name}: the service does not ask for the next part")
            except NotSentError:
                raise
            except UnavailableError as error:
                raise NotSentError(f"{endpoint.name}: the request was not sent as a whole: {error.message}") from error
            offset += len(data)
            place = following(endpoint, (message.headers or {})[headers.MORE])

    def _request_limit(self, endpoint: Endpoint[Any, Any]) -> int:
        """The most bytes that one message of a request may have: people may send less at a time than services."""
        is_internal = isinstance(endpoint, InternalEndpoint)
        return self.payload_limit if is_internal else min(self.payload_limit, PEOPLE_PAYLOAD - HEADER_ROOM)

    async def _send_part(
        self,
        place: Endpoint[Any, Any],
        data: bytes,
        head: dict[str, str],
        end: float,
        longest: float = math.inf,
    ) -> Msg:
        subject, sent = place.subject(self.subjects, self._user), time.monotonic()
        left = end - sent
        timed = {**head, **self._clock.head(left)}
        message = await self._live_requests().send(subject, data, timed, min(left, longest))
        self._clock.learn(message.headers or {}, waited=time.monotonic() - sent)
        return message

    async def _fetch_parts(self, endpoint: Endpoint[Req, Rep], first: Msg, part: Part, end: float) -> bytes:
        """Ask for the parts of a reply after the first one."""
        parcel, message = Parcel(endpoint.name, part, self.max_internal), first
        parcel.add(part, first.data)
        while not parcel.is_whole:
            if time.monotonic() >= end:
                raise UnavailableError(f"{endpoint.name}: its time was over before the reply had come as a whole")
            place = following(endpoint, (message.headers or {}).get(headers.MORE, ""))
            wanted = part._replace(offset=parcel.received)
            message = await self._send_part(place, b"", {headers.PART: wanted.header()}, end)
            found = announced(message.headers or {})
            if found is None:
                raise SkybusError(f"{endpoint.name}: the rest of the reply is not held any more")
            parcel.add(found, message.data)
        return await asyncio.to_thread(parcel.unpacked)

    async def _body(self, message: Msg, endpoint: Endpoint[Req, Rep], end: float) -> bytes:
        head, body = message.headers or {}, message.data
        if where := head.get(headers.BLOB):
            body = await blob.fetch(self, where)
        elif part := announced(head):
            body = await self._fetch_parts(endpoint, message, part, end)
        code = head.get(headers.ERROR_CODE)
        if code:
            error = read_json(body or b"{}")
            raise error_from_wire(code, error.get("msg") or head.get(headers.ERROR, ""), error.get("details"))
        return body

    async def _hold(self) -> None:
        lost = self._lost = asyncio.get_running_loop().create_future()
        connection = await self._connect(lost)
        try:
            self._connection, self._requests = connection, await Requests.start(connection, self._user)
            for subscription in self._subscriptions:
                await self._restore(connection, subscription)
            await self.while_connected(self._call_hooks(connection))
            await settle(connection)
            _heed_cancellation()
            self._up.set()
            log.info("connected to NATS", url=connection.connected_url.geturl() if connection.connected_url else "")
            await lost
        finally:
            self._forget()
            await _close(connection)

    async def _call_hooks(self, connection: Connection) -> None:
        for hook in self.on_connect:
            await hook(connection)

    async def _connect(self, lost: asyncio.Future[None]) -> Connection:
        access = self.access()
        self._user = access.credentials.user
        connection = Connection()

        def on_end(task: asyncio.Task[None]) -> None:
            _read_outcome(task)
            if not lost.done():
                lost.set_result(None)

        try:
            await connection.connect(
                servers=access.servers,
                name=self.name,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=2,
                ping_interval=PING_EVERY,
                max_outstanding_pings=2,
                error_cb=self._on_error,
                inbox_prefix=f"_INBOX.{user_token(self._user)}",
                user=None if access.credentials.nkey_seed else access.credentials.user,
                password=access.credentials.password,
                nkeys_seed_str=access.credentials.nkey_seed,
            )
        except BaseException:
            await _close(connection)  # nats-py leaves the socket open
            raise
        self._max_payload = connection.max_payload
        for task in (connection._reading_task, connection._flusher_task):
            assert task
            task.add_done_callback(on_end)  # nats-py does not call closed_cb when closing fails, as on a broken pipe
        return connection

    async def _restore(self, connection: Connection, subscription: Subscription) -> None:
        subscription.live = await connection.subscribe(
            subscription.subject, queue=subscription.queue, cb=subscription.on_message
        )

    async def _on_error(self, error: Exception) -> None:
        denied = _DENIED_PUBLISH.search(str(error))
        if denied and self._requests:
            self._requests.refuse(denied[1], self._user)
            return
        if not self.is_connected:
            self._report(error)
            return
        log.warning("NATS reports an error", error=str(error))

    def _forget(self) -> None:
        was_up, requests = self._up.is_set(), self._requests
        self._connection = self._requests = None
        self._up.clear()
        self._why = "the connection was lost"
        if requests:
            requests.fail(UnavailableError("the connection to NATS was lost before the answer came"))
        if was_up:
            log.info("disconnected from NATS")
            for callback in self.on_disconnect:
                callback()

    def _report(self, error: Exception) -> None:
        reason = why(error)
        if reason != self._why:
            log.warning("no connection to NATS", reason=reason)
        self._why = reason


def _read_outcome(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _heed_cancellation() -> None:
    """End if this task was cancelled while it was in nats-py, which loses that now and then."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


async def _close(connection: Connection) -> None:
    if not connection.is_closed:
        await connection.close()
    if connection._transport is not None:
        connection._transport.close()  # nats-py leaves it open when the rest could not be written
    for subscription in connection._subs.values():  # and these go on
        if task := subscription._wait_for_msgs_task:
            task.cancel()


async def settle(connection: Connection) -> None:
    """Wait until the server has taken everything that was sent, and all subscriptions.

    nats-py writes its PING past the buffer in which subscriptions may still wait; behind the first PONG they are sent,
    behind the second they are known.
    """
    await connection.flush()
    await connection.flush()
