"""Who answers the endpoints of the queue: its items and its mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from skybus.bus.api import queue
from skybus.bus.api.items import Item, QueueChange
from skybus.bus.errors import ConflictError, InvalidError, NotFoundError, SkybusError
from skybus.bus.messages import Message, Nothing, explain
from skybus.bus.service import Handler
from skybus.bus.shared_replies import LONG, Shared, Sharing
from skybus.queue import moves
from skybus.queue.book import Book
from skybus.queue.excerpts import excerpt, excerpts
from skybus.queue.item_check import ItemCheck, batch_refused
from skybus.queue.keeper import Keeper
from skybus.queue.records import Running
from skybus.queue.runner import Runner

R = TypeVar("R", bound=Message)


class QueueHandlers:
    """Reads and changes the queue."""

    def __init__(self, keeper: Keeper, runner: Runner, check: ItemCheck) -> None:
        self._keeper = keeper
        self._runner = runner
        self._check = check
        self._pages = Sharing[queue.QueuePage]()

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(queue.QUEUE_GET, self.get_queue),
            Handler(queue.QUEUE_CLEAR, self.clear_queue),
            Handler(queue.QUEUE_MODE_SET, self.set_mode),
            Handler(queue.ITEM_ADD, self.add_item),
            Handler(queue.ITEM_ADD_BATCH, self.add_batch),
            Handler(queue.ITEM_VALIDATE, self.validate_items),
            Handler(queue.ITEM_GET, self.get_item),
            Handler(queue.ITEM_UPDATE, self.update_item),
            Handler(queue.ITEM_REMOVE, self.remove_item),
            Handler(queue.ITEM_REMOVE_BATCH, self.remove_batch),
            Handler(queue.ITEM_MOVE, self.move_item),
            Handler(queue.ITEM_MOVE_BATCH, self.move_batch),
            Handler(queue.ITEM_EXECUTE, self.execute_item),
        ]

    async def get_queue(self, request: queue.QueueGet) -> Shared[queue.QueuePage]:
        """Read a page of the queue."""
        question = (request.offset, request.limit, request.max_item_bytes)

        async def read() -> Shared[queue.QueuePage]:
            book = await self._keeper.fresh()
            version = (book.flags.queue_uid, book.running and book.running.attempt)
            if shared := self._pages.of(version, question):
                return shared
            items, running = book.line.page(request.offset, request.limit), book.running
            make = partial(_page, items, running, book.flags.queue_uid, len(book.line), request.max_item_bytes)
            return self._pages.share(question, make, is_long=len(items) > LONG)

        return await self._keeper.do(read)

    async def get_item(self, request: queue.ItemRef) -> queue.ItemFound:
        """Find one item."""

        async def read() -> queue.ItemFound:
            book = await self._keeper.fresh()
            return queue.ItemFound(item=book.find(moves.referred(book.line, request)))

        return await self._keeper.do(read)

    async def validate_items(self, request: queue.ItemsValidate) -> queue.ItemsValidated:
        """Check items, and queue none."""
        return queue.ItemsValidated.model_construct(results=await self._check.findings(request))

    async def add_item(self, request: queue.ItemAdd) -> queue.ItemAdded:
        """Put one item into the queue."""
        item = await self._check.one(request.item, request)

        def alter(book: Book) -> queue.ItemAdded:
            book.insert([item], request.pos, request.before_uid, request.after_uid)
            return _added(book, item)

        with _showing(item):
            added = await self._change(request, alter)
        await self._runner.items_added()
        return added

    async def add_batch(self, request: queue.ItemAddBatch) -> queue.BatchAdded:
        """Put items into the queue, all or none."""
        items, results = await self._check.batch(request)

        def alter(book: Book) -> queue.BatchAdded:
            if items:
                _insert_batch(book, items, request)
            return queue.BatchAdded.model_construct(
                items=items, results=results, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid
            )

        added = await self._change(request, alter)
        await self._runner.items_added()
        return added

    async def update_item(self, request: queue.ItemUpdate) -> queue.ItemAdded:
        """Replace an item in its place."""
        uid = request.item.item_uid
        if uid is None:
            raise InvalidError("Item description contains no UID: item.item_uid says which item to replace")
        item = await self._check.one(request.item, request)
        if not request.replace:
            item["item_uid"] = uid

        def alter(book: Book) -> queue.ItemAdded:
            book.replace(uid, item)
            return _added(book, item)

        with _showing(item):
            return await self._change(request, alter)

    async def remove_item(self, request: queue.ItemRemove) -> queue.ItemRemoved:
        """Take one item out."""

        def alter(book: Book) -> queue.ItemRemoved:
            (item,) = book.remove([moves.referred(book.line, request)])
            return queue.ItemRemoved(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)

        return await self._change(request, alter)

    async def remove_batch(self, request: queue.ItemRemoveBatch) -> queue.ItemsMoved:
        """Take items out."""

        def alter(book: Book) -> queue.ItemsMoved:
            items = book.remove(moves.removable(book.line, request.uids, ignore_missing=request.ignore_missing))
            return _moved(book, items)

        return await self._change(request, alter)

    async def move_item(self, request: queue.ItemMove) -> queue.ItemMoved:
        """Move one item."""

        def alter(book: Book) -> queue.ItemMoved:
            item = moves.move_one(book, request)
            return queue.ItemMoved(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)

        return await self._change(request, alter)

    async def move_batch(self, request: queue.ItemMoveBatch) -> queue.ItemsMoved:
        """Move items together."""
        return await self._change(request, lambda book: _moved(book, moves.move_many(book, request)))

    async def execute_item(self, request: queue.ItemExecute) -> queue.ItemAdded:
        """Run an item past the queue."""
        item = await self._check.one(request.item, request)
        with _showing(item):
            return await self._runner.execute(item, lambda book: _added(book, item))

    async def clear_queue(self, request: QueueChange) -> Nothing:
        """Empty the queue."""

        def alter(book: Book) -> Nothing:
            book.clear()
            return Nothing()

        return await self._change(request, alter)

    async def set_mode(self, request: queue.QueueModeSet) -> queue.QueueMode:
        """Change the mode of the queue."""

        def alter(book: Book) -> queue.QueueMode:
            book.set_flags(mode=_mode(book, request.mode))
            return book.flags.mode

        return await self._keeper.change(alter)

    async def _change(self, request: QueueChange, alter: Callable[[Book], R]) -> R:
        def checked(book: Book) -> R:
            expected = request.expected_queue_uid
            if expected is not None and expected != book.flags.queue_uid:
                raise ConflictError("the queue has changed since you read it: read it again")
            return alter(book)

        return await self._keeper.change(checked)


def _page(
    items: list[Item], running: Running | None, queue_uid: str, qsize: int, max_item_bytes: int | None
) -> queue.QueuePage:
    return queue.QueuePage.model_construct(
        items=excerpts(items, max_item_bytes),
        running_item=excerpt(running.shown(), max_item_bytes) if running else {},
        plan_queue_uid=queue_uid,
        qsize=qsize,
    )


def _insert_batch(book: Book, items: list[Item], request: queue.ItemAddBatch) -> None:
    try:
        book.insert(items, request.pos, request.before_uid, request.after_uid)
    except (InvalidError, NotFoundError) as error:  # there is no such place, for none of them
        raise batch_refused([queue.ItemVerdict(success=False, msg=error.message)] * len(items)) from error


@contextmanager
def _showing(item: Item) -> Iterator[None]:
    """Show in a refusal the item that was checked and would have been kept."""
    try:
        yield
    except SkybusError as error:
        error.details["item"] = item
        raise


def _added(book: Book, item: Item) -> queue.ItemAdded:
    return queue.ItemAdded(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)


def _moved(book: Book, items: list[Item]) -> queue.ItemsMoved:
    return queue.ItemsMoved.model_construct(items=items, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)


def _mode(book: Book, wanted: dict[str, Any] | str) -> queue.QueueMode:
    if isinstance(wanted, str):
        return queue.QueueMode()
    try:
        return queue.QueueMode.model_validate({**book.flags.mode.model_dump(), **wanted})
    except ValidationError as error:
        known = ", ".join(queue.QueueMode.model_fields)
        raise InvalidError(f"Unsupported plan queue mode: {explain(error)}; the parameters are {known}") from None
