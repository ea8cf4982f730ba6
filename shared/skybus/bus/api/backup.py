"""Endpoints of backup and restore: a picture of queue and history is read part by part, and put back as one change."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from skybus.bus.api.items import Item
from skybus.bus.api.queue import QueueMode
from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message, Request

PICTURE_KEPT = 600.0
"""Seconds that a picture can be read after it was taken."""


class PictureTaken(Message):
    """A picture of one moment; what happens afterwards is not in it."""

    picture_id: str
    time: float
    """Unix seconds."""
    mode: QueueMode
    running_item: Item
    """As in `queue.get`; empty when nothing ran."""
    items_in_queue: int
    items_in_history: int
    plan_queue_uid: str
    plan_history_uid: str


class PictureRead(Request):
    """Read items of a picture; refused with `not_found` when the queue service that took it is no more."""

    picture_id: str
    part: Literal["queue", "history"]
    offset: int = Field(ge=0)
    """Counted from the front of the queue, or from the oldest item of the history."""
    limit: int = Field(ge=1, le=1000)


class PicturePart(Message):
    """Items of a picture, in their order; empty behind the last."""

    items: list[Item]


class RestoreBegin(Request):
    """Begin to bring what is to be the queue and the history; who began another restore cannot go on with it."""

    replace: bool = False
    """Also when there are items already; they go when it is done."""
    lock_key: str | None = None


class RestoreBegun(Message):
    """What is brought now is put aside."""

    restore_id: str


class RestoreAdd(Request):
    """Bring items, each part behind those before."""

    restore_id: str
    queue: list[Item] = []
    history: list[Item] = []


class RestoreAdded(Message):
    """So much was brought so far."""

    items_in_queue: int
    items_in_history: int


class RestoreFinish(Request):
    """Make what was brought the queue and the history, in one step."""

    restore_id: str
    items_in_queue: int
    """So many must have been brought."""
    items_in_history: int
    mode: QueueMode = QueueMode()
    running_item: Item = {}
    """What ran when the picture was taken, as it stands there."""
    picture_time: float = 0
    """Unix seconds."""
    expected_queue_uid: str | None = None
    """Refuse with `conflict` if queue or history are no longer those that the caller has seen."""
    expected_history_uid: str | None = None
    lock_key: str | None = None


class Restored(Message):
    """What queue and history have now."""

    items_in_queue: int
    items_in_history: int
    plan_queue_uid: str
    plan_history_uid: str


PICTURE_TAKE = Endpoint("backup.take", Empty, PictureTaken)
PICTURE_READ = Endpoint("backup.read", PictureRead, PicturePart)
RESTORE_BEGIN = Endpoint("restore.begin", RestoreBegin, RestoreBegun, changes=True)
RESTORE_ADD = Endpoint("restore.add", RestoreAdd, RestoreAdded, changes=True)
RESTORE_FINISH = Endpoint("restore.finish", RestoreFinish, Restored, changes=True)
