"""The queue and its history, as methods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import ValidationError

from skybus.bus.api.history import HISTORY_CLEAR, HISTORY_GET, HistoryClear, HistoryGet, HistoryPage
from skybus.bus.api.items import PLAN, Item, ItemSpec, QueueChange
from skybus.bus.api.queue import (
    ITEM_ADD,
    ITEM_ADD_BATCH,
    ITEM_EXECUTE,
    ITEM_GET,
    ITEM_MOVE,
    ITEM_REMOVE,
    ITEM_UPDATE,
    ITEM_VALIDATE,
    QUEUE_AUTOSTART,
    QUEUE_CLEAR,
    QUEUE_GET,
    QUEUE_MODE_SET,
    QUEUE_START,
    QUEUE_STOP,
    QUEUE_STOP_CANCEL,
    ItemAdd,
    ItemAddBatch,
    ItemExecute,
    ItemFinding,
    ItemMove,
    ItemRef,
    ItemRemove,
    ItemsValidate,
    ItemUpdate,
    QueueAutostart,
    QueueControl,
    QueueGet,
    QueueMode,
    QueueModeSet,
    QueuePage,
)
from skybus.bus.errors import InvalidError
from skybus.bus.messages import M, explain
from skybus.client.calls import Calls

Position = int | Literal["front", "back"]


class QueueCalls(Calls):
    """What one does with the queue.

    A change takes `expected_queue_uid`, the `plan_queue_uid` of the queue or the status that was read: if the queue has
    changed since, a `ConflictError` comes of it and nothing else.
    """

    async def queue(self, *, offset: int = 0, limit: int | None = None, max_item_bytes: int | None = None) -> QueuePage:
        """Read the queue, or a page of it.

        With `max_item_bytes` larger arguments and metadata are left out; `left_out` of an item names them.
        """
        return await self.call(QUEUE_GET, made(QueueGet, **_page(offset, limit, max_item_bytes)))

    async def history(
        self, *, offset: int = 0, limit: int | None = None, max_item_bytes: int | None = None
    ) -> HistoryPage:
        """Read the history, the oldest item first, or a page of it; `max_item_bytes` as for `queue`."""
        return await self.call(HISTORY_GET, made(HistoryGet, **_page(offset, limit, max_item_bytes)))

    async def clear_history(self, *, keep: int | None = None) -> None:
        """Forget the history, or all but its newest items."""
        await self.call(HISTORY_CLEAR, HistoryClear(size=keep))

    async def add(self, plan: str, /, *args: Any, **kwargs: Any) -> Item:
        """Put a plan at the back of the queue; `args` and `kwargs` are the plan's."""
        return await self.add_item(plan_item(plan, *args, **kwargs))

    async def add_item(self, item: Item, **place: Any) -> Item:
        """Put an item into the queue; `pos`, `before_uid` or `after_uid` says where."""
        return (await self.call(ITEM_ADD, made(ItemAdd, item=item, **place))).item

    async def add_items(self, items: Iterable[Item], **place: Any) -> list[Item]:
        """Put items into the queue, all or none.

        Raises:
            InvalidError: one of them is refused; `details["results"]` says of each why.
        """
        return (await self.call(ITEM_ADD_BATCH, made(ItemAddBatch, items=list(items), **place), timeout=60)).items

    async def validate(self, items: Iterable[Item]) -> list[ItemFinding]:
        """Check items as if they were to be added; nothing is queued."""
        return (await self.call(ITEM_VALIDATE, made(ItemsValidate, items=list(items)), timeout=60)).results

    async def execute(self, plan: str, /, *args: Any, **kwargs: Any) -> Item:
        """Run a plan at once, past the queue."""
        item = made(ItemSpec, **plan_item(plan, *args, **kwargs))
        return (await self.call(ITEM_EXECUTE, ItemExecute(item=item))).item

    async def get_item(self, which: str | int) -> Item:
        """Read one item, by uid or position."""
        return (await self.call(ITEM_GET, ItemRef(**_one(which)))).item

    async def update_item(self, item: Item, *, replace: bool = False, expected_queue_uid: str | None = None) -> Item:
        """Replace the item of the same `item_uid` in its place; with `replace` it gets a new uid."""
        request = made(ItemUpdate, item=item, replace=replace, expected_queue_uid=expected_queue_uid)
        return (await self.call(ITEM_UPDATE, request)).item

    async def remove(self, which: str | int, *, expected_queue_uid: str | None = None) -> Item:
        """Take one item out, by uid or position."""
        request = ItemRemove(**_one(which), expected_queue_uid=expected_queue_uid)
        return (await self.call(ITEM_REMOVE, request)).item

    async def move(self, which: str | int, to: Position, *, expected_queue_uid: str | None = None) -> Item:
        """Move one item, by uid or position, to a position."""
        request = ItemMove(**_one(which), pos_dest=to, expected_queue_uid=expected_queue_uid)
        return (await self.call(ITEM_MOVE, request)).item

    async def clear(self, *, expected_queue_uid: str | None = None) -> None:
        """Empty the queue; what runs goes on."""
        await self.call(QUEUE_CLEAR, QueueChange(expected_queue_uid=expected_queue_uid))

    async def start(self) -> None:
        """Begin to run the queue."""
        await self.call(QUEUE_START, QueueControl())

    async def stop(self) -> None:
        """Stop the queue after the running plan."""
        await self.call(QUEUE_STOP, QueueControl())

    async def cancel_stop(self) -> None:
        """Take a stop of the queue back."""
        await self.call(QUEUE_STOP_CANCEL, QueueControl())

    async def set_mode(self, mode: dict[str, bool] | Literal["default"]) -> QueueMode:
        """Change the given fields of the queue's mode (`loop`, `ignore_failures`), or set the default."""
        return await self.call(QUEUE_MODE_SET, made(QueueModeSet, mode=mode))

    async def set_autostart(self, *, enable: bool) -> None:
        """Start the queue by itself whenever there is something to run."""
        await self.call(QUEUE_AUTOSTART, QueueAutostart(enable=enable))


def plan_item(plan: str, /, *args: Any, **kwargs: Any) -> Item:
    """Write a plan with its arguments as an item."""
    item: Item = {"item_type": PLAN, "name": plan}
    if args:
        item["args"] = list(args)
    if kwargs:
        item["kwargs"] = kwargs
    return item


def made(model: type[M], **fields: Any) -> M:
    """Make a request of what a caller has given.

    Raises:
        InvalidError: it cannot be right.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidError(explain(error)) from None


def _page(offset: int, limit: int | None, max_item_bytes: int | None) -> dict[str, Any]:
    """What is asked of a page; a service of an older version does not know the bound."""
    bound = {} if max_item_bytes is None else {"max_item_bytes": max_item_bytes}
    return {"offset": offset, "limit": limit, **bound}


def _one(which: str | int) -> dict[str, Any]:
    if isinstance(which, int) or which in ("front", "back"):
        return {"pos": which}
    return {"uid": which}
