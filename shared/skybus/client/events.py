"""Events as they arrive, and which messages are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import structlog
from nats.aio.msg import Msg

from skybus.bus.bodies import LARGEST_DOCUMENT, body_of, is_packed, text_of
from skybus.bus.connection import Bus
from skybus.bus.direct_get import last_under
from skybus.bus.errors import InvalidError, UnavailableError
from skybus.bus.json_values import read_json
from skybus.bus.messages import M, decode
from skybus.bus.provenance import is_event

log = structlog.get_logger()

_WAITING, _WAITING_BYTES = 10_000, 64 << 20


@dataclass(frozen=True)
class Event:
    """Something that happened; a hint, to be followed by reading the state where it matters."""

    topic: str
    """Such as `status` or `item.{item_uid}`."""
    data: bytes

    def json(self) -> Any:
        """The body as plain values."""
        return read_json(self.data)

    def read(self, model: type[M]) -> M:
        """The body as a message."""
        return decode(model, self.data)


async def last_value(bus: Bus, topic: str, model: type[M]) -> M | None:
    """Read the last value of a topic that is kept for late joiners: `status`, `environment` or `progress`."""
    stored = await last_under(bus, f"KV_{bus.subjects.state_bucket}", bus.subjects.kept(topic))
    return decode(model, stored.data) if stored else None


def topic_of(bus: Bus, message: Msg) -> str:
    """The topic that a message was published on."""
    return message.subject.removeprefix(bus.subjects.event(""))


async def events(bus: Bus, topic: str) -> AsyncGenerator[Event]:
    """Go through the events of a topic, which may have wildcards, as they come.

    A document that cannot be unpacked, or has more than 64 MB, is left out.

    Raises:
        UnavailableError: the reader is so slow that events were dropped.
    """
    waiting = _Waiting()

    async def receive(message: Msg) -> None:
        if is_event(bus.subjects, message):
            waiting.put(message)

    subscription = await bus.subscribe(bus.subjects.event(topic), receive)
    try:
        while True:
            if waiting.is_full:
                raise UnavailableError(
                    f"more than {_WAITING:,} events of {topic!r}, or {_WAITING_BYTES:,} bytes of them, were waiting to "
                    "be read: read the state again"
                )
            message = await waiting.get()
            body = await asyncio.to_thread(_body, message) if is_packed(message) else message.data
            if body is not None:
                yield Event(topic_of(bus, message), body)
    finally:
        await bus.unsubscribe(subscription)


class _Waiting:
    """Events that a reader has not read yet; when it is full, nothing more is taken."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Msg] = asyncio.Queue()
        self._size = 0
        self.is_full = False

    def put(self, message: Msg) -> None:
        self.is_full = self.is_full or self._messages.qsize() >= _WAITING or self._size > _WAITING_BYTES
        if not self.is_full:
            self._size += len(message.data)
            self._messages.put_nowait(message)

    async def get(self) -> Msg:
        message = await self._messages.get()
        self._size -= len(message.data)
        return message


def _body(message: Msg) -> bytes | None:
    return document_body(message) if ".evt.doc." in message.subject else text_of(message).encode()


def document_body(message: Msg) -> bytes | None:
    """The JSON of a document; nothing if it cannot be unpacked or is too large."""
    try:
        return body_of(message, LARGEST_DOCUMENT)
    except InvalidError as error:
        log.error("a document cannot be unpacked; it is left out", subject=message.subject, reason=error.message)
        return None
