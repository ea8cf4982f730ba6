"""Requests in flight on one connection: one inbox, a future each, failed at once when the reason is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import nats.errors
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from skybus.bus.errors import DeniedError, NobodyThereError, NotSentError, SkybusError, UnavailableError
from skybus.bus.identity import user_token
from skybus.bus.provenance import is_no_responders, is_reply

Accepts = Callable[[Msg], bool]


class _Pending(NamedTuple):
    future: asyncio.Future[Msg]
    subject: str
    accepts: Accepts
    """Whether a message answers the request; others are dropped."""


class Requests:
    """The requests of one connection."""

    def __init__(self, connection: Connection, inbox: str) -> None:
        self._connection = connection
        self._inbox = inbox
        self._numbers = count()
        self._pending: dict[str, _Pending] = {}

    @classmethod
    async def start(cls, connection: Connection, user: str) -> Requests:
        """Subscribe to an inbox of our own below `_INBOX.{user}`."""
        inbox = f"_INBOX.{user_token(user)}.{connection._nuid.next().decode()}"
        requests = cls(connection, inbox)
        await connection.subscribe(f"{inbox}.*", cb=requests._on_reply)
        return requests

    async def send(
        self,
        subject: str,
        data: bytes,
        head: dict[str, str],
        timeout: float,  # noqa: ASYNC109
        accepts: Accepts = is_reply,
    ) -> Msg:
        """Send a request and wait for the first message that answers it: by default the reply of a service."""
        token = str(next(self._numbers))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Msg] = loop.create_future()
        self._pending[token] = _Pending(future, subject, accepts)
        timer = loop.call_later(timeout, self._expire, token, timeout)
        try:
            await self._connection.publish(subject, data, reply=f"{self._inbox}.{token}", headers=head or None)
            return await future
        except (nats.errors.Error, OSError) as error:  # the end of the connection is known to nats-py first
            raise NotSentError(f"not connected to NATS, the request was not sent: {error}") from None
        finally:
            timer.cancel()
            self._pending.pop(token, None)

    def refuse(self, subject: str, user: str) -> None:
        """Fail the requests on a subject that the server does not let us publish on; nats-py names it in lower case."""
        for pending in [p for p in self._pending.values() if p.subject.lower() == subject.lower()]:
            _fail(pending.future, DeniedError(f"{user!r} may not publish on {pending.subject}"))

    def fail(self, error: SkybusError) -> None:
        """Fail all that wait."""
        for pending in list(self._pending.values()):
            _fail(pending.future, error)

    async def _on_reply(self, message: Msg) -> None:
        pending = self._pending.get(message.subject.rpartition(".")[2])
        if pending is None or pending.future.done():
            return
        if is_no_responders(message):
            _fail(pending.future, NobodyThereError(f"no service answers on {pending.subject}"))
        elif pending.accepts(message):
            pending.future.set_result(message)

    def _expire(self, token: str, seconds: float) -> None:
        pending = self._pending.get(token)
        if pending:
            _fail(pending.future, UnavailableError(f"no answer on {pending.subject} within {round(seconds, 2):g} s"))


def _fail(future: asyncio.Future[Msg], error: SkybusError) -> None:
    if not future.done():
        future.set_exception(error)
