"""Following a stream: read what is stored, go on live, read again what was missed.

The stream publishes again what it has stored, with the sequence number in `Nats-Sequence` and that of the message
before it under the same subject in `Nats-Last-Sequence` (NATS ADR-28). A number that is lower than the one awaited has
been seen; one before it that has not shows a gap, and so may a new connection: then the stream is read from the awaited
number on. Nothing is seen twice, and nothing that the stream still has is left out; of what is stored and never
published again, as when its leader dies, one learns with the next message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

import structlog
from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.connection import Bus
from skybus.bus.copies import Looks
from skybus.bus.errors import SkybusError, UnavailableError

log = structlog.get_logger()

T = TypeVar("T")

SEQUENCE, LAST_SEQUENCE = "Nats-Sequence", "Nats-Last-Sequence"
_STORED = "Nats-Time-Stamp"
_AGAIN = 0.5
"""Seconds until it is tried again to read what could not be read."""
_ANNOUNCED = 60.0
"""Seconds to look for what the stream has announced; the server with the copy may have been stopped for long."""
_WAITING = 20_000
"""Messages that may wait for a slow reader; beyond that they are dropped here and read from the stream."""


class Page(NamedTuple, Generic[T]):
    """Stored entries in order, and where to go on."""

    entries: list[T]
    next_seq: int
    complete: bool


class _Entry(NamedTuple, Generic[T]):
    seq: int
    previous: int
    """The sequence number before it of all that is followed, as far as that is known; 0 if there is none."""
    value: T


class _Inbox(Generic[T]):
    """What arrives live; `None` says that something may have been missed."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[_Entry[T] | None] = asyncio.Queue(_WAITING)
        self.get = self._queue.get

    def put(self, entry: _Entry[T] | None) -> None:
        if not self._queue.full():
            self._queue.put_nowait(entry)
            return
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def on_connect(self, _connection: object) -> None:
        self.put(None)


@dataclass
class _Place:
    next_seq: int | None = None
    """The sequence number awaited; nothing before the first entry."""

    def is_seen(self, seq: int) -> bool:
        return self.next_seq is not None and seq < self.next_seq


@dataclass
class Tail(Generic[T]):
    """A stream, followed through the events that it publishes again.

    Args:
        subject: of the events.
        parse: makes an entry of a message.
        read: reads a page from a sequence number on. A number beyond the end of the stream means that the stream was
            made anew; then it reads from its beginning.
        is_whole: whether the subject covers the whole stream, so that sequence numbers follow each other; if not, each
            message tells only which was before it under its own subject.
        skip_unreadable: go on without what cannot be read, instead of waiting until it can.
    """

    bus: Bus
    subject: str
    parse: Callable[[Msg], T]
    read: Callable[[int], Awaitable[Page[T]]]
    is_whole: bool = True
    skip_unreadable: bool = False

    async def follow(self, first: Callable[[], Awaitable[Page[T]]] | None = None) -> AsyncGenerator[T]:
        """Go through what `first` reads and all that comes after it; without `first`, what comes from now on."""
        place = _Place()
        async with self._subscribed() as inbox:
            if first:
                async for value in self._stored(await self._page(first), place):
                    yield value
            while True:
                entry = await inbox.get()
                if place.next_seq and (entry is None or not place.is_seen(entry.previous)):
                    async for value in self._missed(place, entry.previous if entry else 0):
                        yield value
                if entry is None or place.is_seen(entry.seq):
                    continue
                place.next_seq = entry.seq + 1
                yield entry.value

    async def _missed(self, place: _Place, until: int) -> AsyncGenerator[T]:
        """Go through what was missed; on a cluster the copy that is read may be behind the one that has told us."""
        async for _ in Looks(_ANNOUNCED):
            page = await self._read(place.next_seq) if place.next_seq else None
            async for value in self._stored(page, place):
                yield value
            if page is None or place.is_seen(until):
                return
        log.error("the stream lacks what it has announced", subject=self.subject, seq=place.next_seq, until=until)

    async def _stored(self, page: Page[T] | None, place: _Place) -> AsyncGenerator[T]:
        while page:
            place.next_seq = page.next_seq
            for value in page.entries:
                yield value
            page = None if page.complete else await self._read(page.next_seq)

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[_Inbox[T]]:
        inbox: _Inbox[T] = _Inbox()

        async def receive(message: Msg) -> None:
            seq = sequence_of(message)
            if seq is not None:
                previous = seq - 1 if self.is_whole else _number(message, LAST_SEQUENCE) or 0
                inbox.put(_Entry(seq, previous, self.parse(message)))

        subscription = await self.bus.subscribe(self.subject, receive)
        self.bus.on_connect.append(inbox.on_connect)
        try:
            yield inbox
        finally:
            self.bus.on_connect.remove(inbox.on_connect)
            await self.bus.unsubscribe(subscription)

    async def _read(self, seq: int) -> Page[T] | None:
        return await self._page(lambda: self.read(seq))

    async def _page(self, read: Callable[[], Awaitable[Page[T]]]) -> Page[T] | None:
        """Read a page, however long it takes until somebody can answer."""
        while True:
            await self.bus.wait_connected()
            try:
                return await read()
            except SkybusError as error:
                is_away = isinstance(error, UnavailableError)
                if is_away and not self.bus.is_connected:
                    continue
                if not (is_away or self.skip_unreadable):
                    raise
                log.warning("stored output cannot be read", subject=self.subject, reason=error.message)
                if self.skip_unreadable:
                    return None
                await asyncio.sleep(_AGAIN)


def stored_at(message: Msg) -> float:
    """When the stream has stored a message, unix s; 0 if it does not say."""
    try:
        return datetime.fromisoformat((message.headers or {}).get(_STORED, "")).timestamp()
    except ValueError:
        return 0.0


def sequence_of(message: Msg) -> int | None:
    """The stream's sequence number of a message that a stream has published again, or nothing."""
    return _number(message, SEQUENCE) if (message.headers or {}).get(headers.KIND) != headers.REPLY else None


def _number(message: Msg, name: str) -> int | None:
    number = (message.headers or {}).get(name, "")
    return int(number) if number.isdigit() else None
