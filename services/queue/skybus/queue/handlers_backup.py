"""Who answers the endpoints of a backup: a picture of one moment, of which nothing is copied.

Items in memory are never altered, so to remember which they were is enough. The history only grows at its end: it is
read from Redis as far as it reached then. When it is cleared meanwhile, the picture is of no use any more.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import orjson

from skybus.bus.api import backup as api
from skybus.bus.api.items import Item
from skybus.bus.errors import ConflictError, NotFoundError
from skybus.bus.messages import Empty
from skybus.bus.service import Handler
from skybus.queue.keeper import Keeper
from skybus.queue.records import new_uid
from skybus.queue.store import Store

AT_ONCE = 8
"""Pictures; one more, and the oldest goes."""


@dataclass(frozen=True)
class _Picture:
    queue: list[Item]
    history_start: int
    history_size: int


class BackupHandlers:
    """Takes pictures, and shows them."""

    def __init__(self, keeper: Keeper, store: Store) -> None:
        self._keeper = keeper
        self._store = store
        self._pictures: dict[str, _Picture] = {}

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [Handler(api.PICTURE_TAKE, self.take), Handler(api.PICTURE_READ, self.read)]

    async def take(self, _: Empty) -> api.PictureTaken:
        """Take a picture of queue and history."""
        return await self._keeper.do(self._take)

    async def read(self, request: api.PictureRead) -> api.PicturePart:
        """Show a part of a picture."""
        picture = self._pictures.get(request.picture_id)
        if picture is None:
            raise NotFoundError("the queue service does not have this picture any more: take another")
        if request.part == "queue":
            page = picture.queue[request.offset : request.offset + request.limit]
            return api.PicturePart.model_construct(items=page)
        limit = min(request.limit, picture.history_size - request.offset)
        return await self._keeper.do(lambda: self._read_history(picture, request.offset, limit))

    async def _take(self) -> api.PictureTaken:
        book = await self._keeper.fresh()
        picture = _Picture(book.line.page(0, None), book.flags.history_start, book.history_size)
        return api.PictureTaken(
            picture_id=self._keep(picture),
            time=time.time(),
            mode=book.flags.mode,
            running_item=book.running.shown() if book.running else {},
            items_in_queue=len(picture.queue),
            items_in_history=picture.history_size,
            plan_queue_uid=book.flags.queue_uid,
            plan_history_uid=book.flags.history_uid,
        )

    async def _read_history(self, picture: _Picture, offset: int, limit: int) -> api.PicturePart:
        book = await self._keeper.fresh()
        if book.flags.history_start != picture.history_start:
            raise ConflictError("the history was cleared while it was read: take another picture")
        raw = await self._store.raw_history(offset, limit) if limit > 0 else []
        if len(raw) < limit:
            raise ConflictError("the history has lost items while it was read: take another picture")
        return api.PicturePart.model_construct(items=[orjson.Fragment(item) for item in raw])  # it is JSON already

    def _keep(self, picture: _Picture) -> str:
        while len(self._pictures) >= AT_ONCE:
            del self._pictures[next(iter(self._pictures))]
        picture_id = new_uid()
        self._pictures[picture_id] = picture
        asyncio.get_running_loop().call_later(api.PICTURE_KEPT, self._pictures.pop, picture_id, None)
        return picture_id
