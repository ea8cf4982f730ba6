"""A piece of output as it goes to the console stream."""

from __future__ import annotations

import time

from skybus.bus import headers
from skybus.bus.errors import InvalidError
from skybus.bus.identity import user_token
from skybus.bus.subjects import Subjects


def console_message(subjects: Subjects, text: str, item_uid: str | None) -> tuple[str, bytes, dict[str, str]]:
    """The subject, body and headers of output that was written while an item was running, or none."""
    head = {headers.TIME: f"{time.time():.6f}"}
    if item_uid:
        head[headers.ITEM] = item_uid
    return subjects.console(f"worker.{_item_token(item_uid)}"), text.encode("utf-8", "replace"), head


def _item_token(item_uid: str | None) -> str:
    try:
        return user_token(item_uid) if item_uid else "-"
    except InvalidError:
        return "-"
