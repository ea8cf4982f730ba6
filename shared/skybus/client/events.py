"""Events as they arrive, and which messages are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.bodies import body_of
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.json_values import read_json
from skybus.bus.messages import M, decode
from skybus.bus.tail import sequence_of

_WAITING = 10_000
_STREAMED = ("console.", "doc.")


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
    subjects = bus.subjects
    stored = await bus.request_raw(f"$JS.API.DIRECT.GET.KV_{subjects.state_bucket}.{subjects.kept(topic)}", b"")
    return None if sequence_of(stored) is None else decode(model, stored.data)


def topic_of(bus: Bus, message: Msg) -> str:
    """The topic that a message was published on."""
    return message.subject.removeprefix(bus.subjects.event(""))


def is_event(bus: Bus, message: Msg) -> bool:
    """Whether a message is an event, and not an answer that somebody has steered here by a forged reply subject."""
    kind = (message.headers or {}).get(headers.KIND)
    if kind is None:
        return topic_of(bus, message).startswith(_STREAMED) and sequence_of(message) is not None
    return kind == headers.EVENT


async def events(bus: Bus, topic: str) -> AsyncGenerator[Event]:
    """Go through the events of a topic, which may have wildcards, as they come.

    Raises:
        UnavailableError: the reader is so slow that events were dropped.
    """
    waiting: asyncio.Queue[Event] = asyncio.Queue(_WAITING)

    async def receive(message: Msg) -> None:
        if is_event(bus, message) and not waiting.full():
            waiting.put_nowait(Event(topic_of(bus, message), body_of(message)))

    subscription = await bus.subscribe(bus.subjects.event(topic), receive)
    try:
        while True:
            if waiting.full():
                raise UnavailableError(
                    f"more than {_WAITING} events of {topic!r} were waiting to be read: read the state again"
                )
            yield await waiting.get()
    finally:
        await bus.unsubscribe(subscription)
