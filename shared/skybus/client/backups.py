"""Backup and restore of queue and history, as methods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Literal

from skybus.bus.api.backup import (
    PICTURE_READ,
    PICTURE_TAKE,
    RESTORE_ADD,
    RESTORE_BEGIN,
    RESTORE_FINISH,
    PictureRead,
    PictureTaken,
    RestoreAdd,
    RestoreBegin,
    Restored,
    RestoreFinish,
)
from skybus.bus.api.items import Item
from skybus.bus.api.queue import QueueMode
from skybus.bus.messages import Empty, Message
from skybus.client.calls import Calls

PAGE = 250
"""Items that are read at once."""


class Contents(Message):
    """What a backup has besides the items that wait or are done."""

    time: float
    """Unix seconds."""
    mode: QueueMode
    running_item: Item
    items_in_queue: int
    items_in_history: int


class BackupCalls(Calls):
    """What one does to keep queue and history elsewhere."""

    async def take_picture(self) -> PictureTaken:
        """Take a picture of queue and history, to be read with `picture_pages`."""
        return await self.call(PICTURE_TAKE, Empty())

    async def picture_pages(
        self, picture: PictureTaken, part: Literal["queue", "history"]
    ) -> AsyncGenerator[list[Item]]:
        """Read a part of a picture, page by page.

        Raises:
            NotFoundError: the queue service was started again meanwhile: take another picture.
            ConflictError: the history was cleared meanwhile: take another picture.
        """
        size = picture.items_in_queue if part == "queue" else picture.items_in_history
        for offset in range(0, size, PAGE):
            request = PictureRead(picture_id=picture.picture_id, part=part, offset=offset, limit=PAGE)
            yield (await self.call(PICTURE_READ, request)).items

    async def restore(
        self,
        contents: Contents,
        parts: Iterable[tuple[list[Item], list[Item]]],
        *,
        replace: bool = False,
        seen: PictureTaken | None = None,
        lock_key: str | None = None,
    ) -> Restored:
        """Put a backup in the place of queue and history: all of it, or nothing.

        Args:
            contents: what it has besides.
            parts: items of the queue and of the history, in their order; each part smaller than a message may be.
            replace: also when there are items already.
            seen: a picture of them; what has changed since must not be replaced.
            lock_key: of the lock on the queue, if there is one.

        Raises:
            ConflictError: there are items already, or they are no longer those that were seen.
            WrongStateError: the queue runs.
            NotFoundError: the queue service was started again meanwhile; nothing was changed.
        """
        begun = await self.call(RESTORE_BEGIN, RestoreBegin(replace=replace, lock_key=lock_key))
        for queue, history in parts:
            await self.call(RESTORE_ADD, RestoreAdd(restore_id=begun.restore_id, queue=queue, history=history))
        request = RestoreFinish(
            restore_id=begun.restore_id,
            items_in_queue=contents.items_in_queue,
            items_in_history=contents.items_in_history,
            mode=contents.mode,
            running_item=contents.running_item,
            picture_time=contents.time,
            expected_queue_uid=seen.plan_queue_uid if seen else None,
            expected_history_uid=seen.plan_history_uid if seen else None,
            lock_key=lock_key,
        )
        return await self.call(RESTORE_FINISH, request)
