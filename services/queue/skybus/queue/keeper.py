"""The one owner of the book: changes are made one after the other, and are in Redis before anybody hears of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import structlog

from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Message, Nothing
from skybus.queue.book import Book
from skybus.queue.guards import Entry, current_entry
from skybus.queue.kept_answers import Asked
from skybus.queue.locks import Lock
from skybus.queue.once import Start, current_asked, current_start
from skybus.queue.shown import Shown
from skybus.queue.store import FencedError, Store

log = structlog.get_logger()

MANY = 2000
"""Commands that make a queue longer by about a thousand items."""

T = TypeVar("T")
R = TypeVar("R", bound=Message)


def _nothing(_: Book) -> Message:
    return Nothing()


class _Turn(NamedTuple):
    work: Callable[[], Awaitable[Any]]
    future: asyncio.Future[Any]
    start: Start | None
    entry: Entry | None
    """Of the request to which the work belongs, like its start."""
    asked: Asked | None
    """That request."""


class Keeper:
    """Does work on the book in the order it comes.

    Args:
        changed: called after each change that is stored.
    """

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed
        self._inbox: asyncio.Queue[_Turn] = asyncio.Queue()
        self._book: Book | None = None
        self._last = Shown.of(Book())
        self._asked: Asked | None = None
        """The request to which the work of this turn belongs."""
        self._grown = 0
        """Commands since the collector was spared."""
        self.is_busy = False
        """Whether a piece of work is being done, which waits for nobody but Redis."""

    @property
    def book(self) -> Book:
        """The book as it is stored."""
        if self._book is None:
            raise UnavailableError("the queue is being read from Redis")
        return self._book

    @property
    def last(self) -> Shown:
        """The book as it was known last to be stored, for those who only show it."""
        return self._last

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            work, future, start, entry, self._asked = await self._inbox.get()
            self.is_busy = True
            try:
                if start:
                    start.make()
                if entry:
                    entry.admit(await self._lock())
                result = await work()
            except Exception as error:  # it belongs to who has asked
                if not future.done():
                    future.set_exception(error)
                if isinstance(error, FencedError):
                    raise
            else:
                if not future.done():
                    future.set_result(result)
            self.is_busy = False

    async def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do a piece of work in its turn.

        Raises:
            LockedError: it belongs to a request that does not get past the lock.
            UnavailableError: it belongs to a request whose time is over before it has begun.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Turn(work, future, current_start(), current_entry(), current_asked()))
        return await future

    async def change(self, alter: Callable[[Book], R]) -> R:
        """Make a change in its turn, for a request that is answered with what it returns.

        Args:
            alter: changes the book and says what the requester is told; an error leaves everything as it was.
        """
        return await self.do(lambda: self._store_change(alter, lambda _, told: told))

    # What follows is done inside a piece of work.

    async def alter(self, alter: Callable[[Book], T]) -> T:
        """Make a change that nobody has asked for, or that is only a part of what was asked for."""
        return await self._store_change(alter, None)

    async def answer_once(self, alter: Callable[[Book], T], told: Callable[[Book], Message] = _nothing) -> T:
        """Make the change that does what the request of this turn asks for; it is stored with the answer.

        Args:
            alter: changes the book.
            told: what the requester is told, of the book after the change.

        Raises:
            AnsweredBefore: it was done before; nothing is to follow.
        """
        return await self._store_change(alter, lambda book, _: told(book))

    async def fresh(self) -> Book:
        """The book, read again from Redis if there was any doubt about it."""
        if self._book is None:
            self._book = await self._store.load()
            gc.freeze()  # see _spare_collector
            self._show(self._book)
        return self._book

    async def _lock(self) -> Lock:
        """The lock, as it was known last while Redis does not answer: what needs no Redis goes on."""
        try:
            return (await self.fresh()).lock
        except UnavailableError:
            return self.last.lock

    async def _store_change(self, alter: Callable[[Book], T], answer: Callable[[Book, T], Message] | None) -> T:
        book = await self.fresh()
        try:
            result = alter(book)
            if answer and self._asked:
                await self._commit(book, self._asked.key, self._asked.kept(answer(book, result)))
            elif book.journal:
                await self._commit(book)
        except BaseException:
            if book.journal:
                self._book = None  # half a change, one refused, or one of which nothing is known: read again
            raise
        self._show(book)
        return result

    def _show(self, book: Book) -> None:
        self._last = Shown.of(book)
        self._changed()

    async def _commit(self, book: Book, key: str = "", answer: bytes = b"") -> None:
        await self._store.commit(book.journal, book.revision, key, answer)
        book.revision += 1
        self._grown += len(book.journal)
        book.journal.clear()
        self._spare_collector()

    def _spare_collector(self) -> None:
        """Take a long queue out of the garbage collector's sight.

        A collection looks at each value of each item and keeps the interpreter's lock, so that not even the thread
        that renews the lease runs: 0.4 s for 250 000 items. Items have no cycles and end without a collection.
        """
        if self._grown > MANY:
            self._grown = 0
            gc.collect()
            gc.freeze()
