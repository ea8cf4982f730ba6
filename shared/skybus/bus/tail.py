"""Following a stream: read what is stored, go on live, read again what was missed.

The stream publishes again what it has stored, with the sequence number in `Nats-Sequence` (NATS ADR-28). A number that
is lower than the one awaited was seen. The one awaited is taken as it comes. A higher one shows that something may be
missing, and so may a new connection: then the stream is read from the awaited number on. Nothing is seen twice, and
nothing that the stream still has is left out; of what is stored and never published again, as when its leader dies, one
learns with the next message. A number that the stream does not have moves nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

import structlog
from nats.aio.msg import Msg

from skybus.bus.bodies import is_packed
from skybus.bus.connection import Bus
from skybus.bus.copies import Looks
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.provenance import STORED, published_seq

log = structlog.get_logger()

T = TypeVar("T")

_AGAIN = 0.5
"""Seconds until it is tried again to read what could not be read."""
_ANNOUNCED = 60.0
"""Seconds to look for what the stream has announced; the server with the copy may have been stopped for long."""
_WAITING, _WAITING_BYTES = 20_000, 32 << 20
"""Messages, and their bytes, that may wait for a slow reader; beyond that they are dropped and read from the stream."""


class Page(NamedTuple, Generic[T]):
    """Stored entries in order, and where to go on."""

    entries: list[T]
    next_seq: int
    complete: bool


class _Live(NamedTuple):
    seq: int
    message: Msg


class _Inbox:
    """What arrives live; `None` says that something may have been missed."""

    def __init__(self) -> None:
        self._entries: deque[_Live | None] = deque()
        self._size = 0
        self._filled = asyncio.Event()

    def put(self, entry: _Live | None) -> None:
        self._size += _size(entry)
        if len(self._entries) >= _WAITING or self._size > _WAITING_BYTES:
            self._entries.clear()
            entry, self._size = None, 0
        self._entries.append(entry)
        self._filled.set()

    async def get(self) -> _Live | None:
        await self._filled.wait()
        entry = self._entries.popleft()
        self._size -= _size(entry)
        if not self._entries:
            self._filled.clear()
        return entry

    async def on_connect(self, _connection: object) -> None:
        self.put(None)


def _size(entry: _Live | None) -> int:
    return len(entry.message.data) if entry else 0


@dataclass
class _Place:
    next_seq: int | None = None
    """The sequence number awaited; nothing before the first entry."""
    is_blind: bool = False
    """The stream could not be read: what comes is taken without it."""

    def is_seen(self, seq: int) -> bool:
        return self.next_seq is not None and seq < self.next_seq

    def is_next(self, seq: int) -> bool:
        return self.next_seq is None or seq == self.next_seq or (self.is_blind and seq > self.next_seq)


@dataclass
class Tail(Generic[T]):
    """A stream, followed through the events that it publishes again.

    Args:
        subject: of the events.
        parse: makes an entry of a message, or nothing of one that cannot be read; in a thread if it must be unpacked.
        read: reads a page from a sequence number on. A number beyond the end of the stream means that the stream was
            made anew; then it reads from its beginning.
        skip_unreadable: go on without what cannot be read, instead of waiting until it can.
    """

    bus: Bus
    subject: str
    parse: Callable[[Msg], T | None]
    read: Callable[[int], Awaitable[Page[T]]]
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
                if place.next_seq and (entry is None or entry.seq > place.next_seq):
                    async for value in self._missed(place, entry.seq if entry else 0):
                        yield value
                if entry is None or not place.is_next(entry.seq):
                    continue
                place.next_seq = entry.seq + 1
                if (value := await self._parsed(entry.message)) is not None:
                    yield value

    async def _parsed(self, message: Msg) -> T | None:
        return await asyncio.to_thread(self.parse, message) if is_packed(message) else self.parse(message)

    async def _missed(self, place: _Place, until: int) -> AsyncGenerator[T]:
        """Go through what was missed; on a cluster the copy that is read may be behind the one that has told us."""
        async for _ in Looks(_ANNOUNCED):
            page = await self._read(place.next_seq) if place.next_seq else None
            place.is_blind = page is None
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
    async def _subscribed(self) -> AsyncIterator[_Inbox]:
        inbox = _Inbox()

        async def receive(message: Msg) -> None:
            seq = published_seq(self.bus.subjects, message)
            if seq is not None:
                inbox.put(_Live(seq, message))

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
        return datetime.fromisoformat((message.headers or {}).get(STORED, "")).timestamp()
    except ValueError:
        return 0.0
