"""Endpoints of the history of plans that have run."""

from __future__ import annotations

from pydantic import Field

from skybus.bus.api.items import Item
from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message, Nothing, Request


class HistoryGet(Request):
    """Read the history, or a page of it."""

    offset: int = Field(default=0, ge=0)
    """Counted from the oldest item."""
    limit: int | None = Field(default=None, ge=0)
    max_item_bytes: int | None = Field(default=None, ge=0)
    """Leave `args`, `kwargs` and `meta` out where one of them has more bytes as JSON. Such an item has `left_out`, the
    names of these fields."""


class HistoryPage(Message):
    """Items of the history, the oldest first."""

    items: list[Item]
    """Each has a `result`: `exit_status`, `run_uids`, `scan_ids`, `time_start`, `time_stop` (unix s), `msg`,
    `traceback`."""
    plan_history_uid: str
    size: int


class HistoryClear(Request):
    """Forget the history, or all but its newest items."""

    size: int | None = Field(default=None, ge=0)
    """Keep so many."""
    item_uid: str | None = None
    """Keep what came after this item."""
    lock_key: str | None = None


HISTORY_GET = Endpoint("history.get", HistoryGet, HistoryPage)
HISTORY_CLEAR = Endpoint("history.clear", HistoryClear, Nothing, changes=True)
