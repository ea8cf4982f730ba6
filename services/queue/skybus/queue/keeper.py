"""The one owner of the book: changes are made one after the other, and are in Redis before anybody hears of them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import structlog

from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.messages import Message, decode, encode
from skybus.queue.book import Book
from skybus.queue.guards import Entry, current_entry
from skybus.queue.store import Answered, FencedError, Store

log = structlog.get_logger()

T = TypeVar("T")
R = TypeVar("R", bound=Message)

REMEMBERED = 10_000
"""Answers kept in memory, so that a repeated request is usually seen without asking Redis."""


class _Turn(NamedTuple):
    work: Callable[[], Awaitable[Any]]
    future: asyncio.Future[Any]
    entry: Entry | None
    """Of the request to which the work belongs."""


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
        self._last = Book()
        self._answers: OrderedDict[str, bytes] = OrderedDict()

    @property
    def book(self) -> Book:
        """The book as it is stored."""
        if self._book is None:
            raise UnavailableError("the queue is being read from Redis")
        return self._book

    @property
    def last(self) -> Book:
        """The book as it was known last, for those who only show it."""
        return self._book or self._last

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            work, future, entry = await self._inbox.get()
            try:
                if entry:
                    entry.admit((await self.fresh()).lock)
                result = await work()
            except Exception as error:  # it belongs to who has asked
                if not future.done():
                    future.set_exception(error)
                if isinstance(error, FencedError):
                    raise
            else:
                if not future.done():
                    future.set_result(result)

    async def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do a piece of work in its turn.

        Raises:
            LockedError: it belongs to a request that does not get past the lock.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Turn(work, future, current_entry()))
        return await future

    async def change(self, alter: Callable[[Book], R], reply: type[R], request_id: str = "") -> R:
        """Make a change in its turn: the same request is done once and answered alike.

        Args:
            alter: changes the book and says what the requester is told; an error leaves everything as it was.
            reply: the class of the answer.
            request_id: of the request, if it has one.
        """
        return await self.do(lambda: self.answer_once(alter, reply, request_id))

    async def alter(self, alter: Callable[[Book], T]) -> T:
        """Make a change inside a piece of work that the keeper is doing."""
        book = await self.fresh()
        result, _ = await self._store_change(book, alter, "")
        return result

    async def answer_once(self, alter: Callable[[Book], R], reply: type[R], request_id: str) -> R:
        """Make a change as `change` does, inside a piece of work that the keeper is doing."""
        if request_id in self._answers:
            return decode(reply, self._answers[request_id])
        book = await self.fresh()
        try:
            result, done = await self._store_change(book, alter, request_id)
        except SkybusError:
            # it may be impossible because it is done: only Redis knows what was answered before a start
            done = await self._store.answered(request_id)
            if done is None:
                raise
            return decode(reply, done.answer)
        return decode(reply, done.answer) if done else result

    async def fresh(self) -> Book:
        """The book, read again from Redis if there was any doubt about it."""
        if self._book is None:
            self._book = self._last = await self._store.load()
            self._changed()
        return self._book

    async def _store_change(self, book: Book, alter: Callable[[Book], T], request_id: str) -> tuple[T, Answered | None]:
        try:
            result = alter(book)
            done = await self._commit(book, result, request_id)
        except BaseException:
            if book.journal:
                self._book = None  # half a change, or one of which nothing is known: read again
            raise
        if done:
            self._book = None
        self._changed()
        return result, done

    async def _commit(self, book: Book, result: object, request_id: str) -> Answered | None:
        if not book.journal and not request_id:
            return None
        answer = encode(result) if request_id and isinstance(result, Message) else b""
        done = await self._store.commit(book.journal, book.revision, request_id, answer)
        if done is None:
            book.revision += 1
            book.journal.clear()
            self._remember(request_id, answer)
        return done

    def _remember(self, request_id: str, answer: bytes) -> None:
        if request_id:
            self._answers[request_id] = answer
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
