"""Who answers the endpoints of the history."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from skybus.bus.api import history
from skybus.bus.errors import InvalidError
from skybus.bus.json_values import read_json
from skybus.bus.messages import Nothing
from skybus.bus.service import Handler
from skybus.bus.shared_replies import LONG, Shared, Sharing
from skybus.queue.excerpts import excerpt
from skybus.queue.keeper import Keeper
from skybus.queue.store import Store


class HistoryHandlers:
    """Reads and clears the history."""

    def __init__(self, keeper: Keeper, store: Store) -> None:
        self._keeper = keeper
        self._store = store
        self._pages = Sharing[history.HistoryPage]()

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(history.HISTORY_GET, self.get_history),
            Handler(history.HISTORY_CLEAR, self.clear_history),
        ]

    async def get_history(self, request: history.HistoryGet) -> Shared[history.HistoryPage]:
        """Read a page of the history."""
        question = (request.offset, request.limit, request.max_item_bytes)

        async def read() -> Shared[history.HistoryPage]:
            book = await self._keeper.fresh()
            uid, size = book.flags.history_uid, book.history_size
            if shared := self._pages.of((uid, size), question):
                return shared
            raw = await self._store.raw_history(request.offset, size if request.limit is None else request.limit)
            return self._pages.share(
                question, partial(_page, raw, uid, size, request.max_item_bytes), is_long=len(raw) > LONG
            )

        return await self._keeper.do(read)

    async def clear_history(self, request: history.HistoryClear) -> Nothing:
        """Forget history, or its older part."""
        if request.size is not None and request.item_uid is not None:
            raise InvalidError("Parameters 'size' and 'item_uid' are mutually exclusive.")

        async def work() -> Nothing:
            newest = await self._history_to_keep(request)
            await self._keeper.answer_once(lambda book: book.keep_history(newest))
            return Nothing()

        return await self._keeper.do(work)

    async def _history_to_keep(self, request: history.HistoryClear) -> int:
        if request.item_uid is None:
            return request.size or 0
        items = await self._store.history(0, None)
        for newer, item in enumerate(reversed(items)):
            if item["item_uid"] == request.item_uid:
                return newer
        return len(items)  # as in the reference: what is not there has nothing behind it to forget


def _page(raw: list[bytes | str], uid: str, size: int, max_item_bytes: int | None) -> history.HistoryPage:
    """A page of items as they are stored, which is JSON already."""
    items = (_shown(item, max_item_bytes) for item in raw)
    return history.HistoryPage.model_construct(items=list(items), plan_history_uid=uid, size=size)


def _shown(raw: bytes | str, max_item_bytes: int | None) -> Any:
    if max_item_bytes is None or len(raw) <= max_item_bytes:
        return orjson.Fragment(raw)
    return excerpt(read_json(raw), max_item_bytes)
