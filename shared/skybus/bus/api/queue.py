"""Endpoints of the queue: its items, its mode, start and stop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from skybus.bus.api.items import ByClaim, Item, ItemSpec, Placed, QueueChange
from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message, Nothing, Request

MOST_ITEMS, MOST_UIDS = 20_000, 100_000
"""Items of one batch, and uids of items that are moved or removed together."""


class QueueGet(Request):
    """Read the queue, or a page of it."""

    offset: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, ge=0)
    max_item_bytes: int | None = Field(default=None, ge=0)
    """Leave `args`, `kwargs` and `meta` out where one of them has more bytes as JSON. Such an item has `left_out`, the
    names of these fields."""


class QueuePage(Message):
    """Items of the queue, from `offset` on."""

    items: list[Item]
    running_item: Item
    """Empty when nothing runs."""
    plan_queue_uid: str
    qsize: int


class ItemAdd(Placed, ByClaim):
    """Put one item into the queue."""

    item: ItemSpec


class ItemAdded(Message):
    """The item with its uid, and how long the queue is now."""

    item: Item
    qsize: int
    plan_queue_uid: str = ""


class ItemAddBatch(Placed, ByClaim):
    """Put items into the queue, all or none."""

    items: list[Any] = Field(max_length=MOST_ITEMS)
    """Each an `ItemSpec`; one that is not is refused by itself, so that the answer can say which."""


class ItemVerdict(Message):
    """What the check says of one item."""

    success: bool
    msg: str = ""


class ItemsValidate(ByClaim):
    """Check items as if they were to be added; nothing is queued."""

    items: list[Any] = Field(max_length=10_000)
    """Each an `ItemSpec`; one that is not is refused by itself."""


class ItemFinding(ItemVerdict):
    """What the check says of one item, with the code of the error."""

    code: str = ""
    """As in the error tree; empty if the item could be added."""


class ItemsValidated(Message):
    """What was said of each item, in the order of the request."""

    results: list[ItemFinding]


class BatchAdded(Message):
    """The items in the order of the request, and what was said of each."""

    items: list[Item]
    results: list[ItemVerdict]
    qsize: int
    plan_queue_uid: str = ""


class ItemRef(Request):
    """One item, by uid or by position; by default the last one."""

    uid: str | None = None
    pos: int | Literal["front", "back"] | None = None


class ItemFound(Message):
    """An item of the queue, or the one that runs."""

    item: Item


class ItemUpdate(QueueChange, ByClaim):
    """Replace an item in its place; `item.item_uid` names it."""

    item: ItemSpec
    replace: bool = False
    """Give it a new uid."""


class ItemRemove(ItemRef, QueueChange):
    """Take one item out of the queue."""


class ItemRemoved(Message):
    """The item that was taken out."""

    item: Item
    qsize: int
    plan_queue_uid: str = ""


class ItemRemoveBatch(QueueChange):
    """Take items out of the queue."""

    uids: list[str] = Field(max_length=MOST_UIDS)
    ignore_missing: bool = True


class ItemsMoved(Message):
    """The items that were moved or taken out, in the order they now have."""

    items: list[Item]
    qsize: int
    plan_queue_uid: str = ""


class ItemMove(QueueChange):
    """Move one item, named by `uid` or `pos`, to `pos_dest`, before or after another."""

    uid: str | None = None
    pos: int | Literal["front", "back"] | None = None
    pos_dest: int | Literal["front", "back"] | None = None
    before_uid: str | None = None
    after_uid: str | None = None


class ItemMoved(Message):
    """The item that was moved."""

    item: Item
    qsize: int
    plan_queue_uid: str = ""


class ItemMoveBatch(QueueChange):
    """Move items together, in the order of `uids` or (`reorder`) in that of the queue."""

    uids: list[str] = Field(max_length=MOST_UIDS)
    pos_dest: Literal["front", "back"] | None = None
    before_uid: str | None = None
    after_uid: str | None = None
    reorder: bool = False


class ItemExecute(ByClaim):
    """Run an item at once, past the queue."""

    item: ItemSpec
    lock_key: str | None = None


class QueueControl(Request):
    """Start or stop."""

    lock_key: str | None = None


class QueueAutostart(Request):
    """Start the queue by itself whenever there is something to run."""

    enable: bool
    lock_key: str | None = None


class QueueMode(Message):
    """How the queue treats items that have run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    loop: bool = False
    """A completed item goes to the back of the queue."""
    ignore_failures: bool = False
    """A failed plan does not stop the queue."""


class QueueModeSet(Request):
    """Change the given fields of the mode, or set the default."""

    mode: dict[str, Any] | Literal["default"]
    lock_key: str | None = None


QUEUE_GET = Endpoint("queue.get", QueueGet, QueuePage)
QUEUE_CLEAR = Endpoint("queue.clear", QueueChange, Nothing, changes=True)
QUEUE_MODE_SET = Endpoint("queue.mode_set", QueueModeSet, QueueMode, changes=True)
QUEUE_START = Endpoint("queue.start", QueueControl, Nothing, changes=True)
QUEUE_STOP = Endpoint("queue.stop", QueueControl, Nothing, changes=True)
QUEUE_STOP_CANCEL = Endpoint("queue.stop_cancel", QueueControl, Nothing, changes=True)
QUEUE_AUTOSTART = Endpoint("queue.autostart", QueueAutostart, Nothing, changes=True)
ITEM_ADD = Endpoint("queue.item.add", ItemAdd, ItemAdded, changes=True)
ITEM_ADD_BATCH = Endpoint("queue.item.add_batch", ItemAddBatch, BatchAdded, changes=True)
ITEM_VALIDATE = Endpoint("queue.item.validate", ItemsValidate, ItemsValidated)
ITEM_GET = Endpoint("queue.item.get", ItemRef, ItemFound)
ITEM_UPDATE = Endpoint("queue.item.update", ItemUpdate, ItemAdded, changes=True)
ITEM_REMOVE = Endpoint("queue.item.remove", ItemRemove, ItemRemoved, changes=True)
ITEM_REMOVE_BATCH = Endpoint("queue.item.remove_batch", ItemRemoveBatch, ItemsMoved, changes=True)
ITEM_MOVE = Endpoint("queue.item.move", ItemMove, ItemMoved, changes=True)
ITEM_MOVE_BATCH = Endpoint("queue.item.move_batch", ItemMoveBatch, ItemsMoved, changes=True)
ITEM_EXECUTE = Endpoint("queue.item.execute", ItemExecute, ItemAdded, changes=True)
