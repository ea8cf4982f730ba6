"""Who answers the endpoints of the history."""

from __future__ import annotations

from typing import Any

from skybus.bus.api import history
from skybus.bus.errors import InvalidError
from skybus.bus.messages import Nothing
from skybus.bus.service import Handler
from skybus.queue.excerpts import excerpts
from skybus.queue.keeper import Keeper
from skybus.queue.store import Store


class HistoryHandlers:
    """Reads and clears the history."""

    def __init__(self, keeper: Keeper, store: Store) -> None:
        self._keeper = keeper
        self._store = store

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(history.HISTORY_GET, self.get_history),
            Handler(history.HISTORY_CLEAR, self.clear_history),
        ]

    async def get_history(self, request: history.HistoryGet) -> history.HistoryPage:
        """Read a page of the history."""

        async def read() -> history.HistoryPage:
            book = await self._keeper.fresh()
            return history.HistoryPage.model_construct(
                items=excerpts(await self._store.history(request.offset, request.limit), request.max_item_bytes),
                plan_history_uid=book.flags.history_uid,
                size=book.history_size,
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
