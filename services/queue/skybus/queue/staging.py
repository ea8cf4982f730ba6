"""What a restore brings lies beside the queue and the history, until one script puts it in their place.

Each part is a change of the book like any other: with the fencing number, and on the revision before. So what is
remembered here of the parts is what is in Redis, or the next change is refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from skybus.bus.api.items import INSTRUCTION, PLAN, Item
from skybus.bus.api.queue import QueueMode
from skybus.bus.errors import InvalidError
from skybus.bus.json_values import write_json
from skybus.queue import deciding
from skybus.queue.book import Book
from skybus.queue.line import GAP, Line, Slot
from skybus.queue.records import Command, Running, new_uid

LOST = "The plan was running when the backup was made: how it ended is not in the backup"
_PARTS = ("queue", "items", "history")
_AT_ONCE = 500
"""Items in one command: Lua cannot unpack many more than some thousand words."""


@dataclass
class Staged:
    """What was brought so far."""

    user: str
    """Who brings it."""
    may_replace: bool
    restore_id: str = field(default_factory=new_uid)
    slots: list[Slot] = field(default_factory=list)
    uids: set[str] = field(default_factory=set)
    history_size: int = 0

    def next_slots(self, items: Sequence[Item]) -> list[Slot]:
        """The places of further items of the queue.

        Raises:
            InvalidError: one of them cannot be in the queue.
        """
        uids = [_uid_of(item) for item in items]
        repeated = [uid for uid, number in Counter(uids).items() if number > 1 or uid in self.uids]
        if repeated:
            raise InvalidError(f"two items have the uid '{repeated[0]}'")
        return [Slot(GAP * (len(self.slots) + number), item) for number, item in enumerate(items)]

    def take(self, slots: Sequence[Slot], history_size: int) -> None:
        """Remember what is in Redis now."""
        self.slots += slots
        self.uids.update(slot.item["item_uid"] for slot in slots)
        self.history_size += history_size


def require_filed(items: Iterable[Item]) -> None:
    """See that items can be in the history.

    Raises:
        InvalidError: one of them cannot.
    """
    for item in items:
        _uid_of(item)
        result = item.get("result")
        times = [result.get(name) for name in ("time_start", "time_stop")] if isinstance(result, dict) else [None]
        if not all(isinstance(moment, (int, float)) for moment in times):
            raise InvalidError(f"this item of a history has no 'result' with time_start and time_stop: {_brief(item)}")


def forget(book: Book) -> None:
    """Write down that what was brought before is thrown away."""
    book.journal += [("UNLINK", f"staged:{part}") for part in _PARTS]


def bring(book: Book, slots: Sequence[Slot], history: Sequence[Item]) -> None:
    """Write down what is brought."""
    for some in _chunks(slots):
        places = [word for slot in some for word in (slot.key, slot.item["item_uid"])]
        items = [word for slot in some for word in (slot.item["item_uid"], write_json(slot.item))]
        book.journal += [("ZADD", "staged:queue", *places), ("HSET", "staged:items", *items)]
    for some in _chunks(history):
        book.journal.append(("RPUSH", "staged:history", *(write_json(item) for item in some)))


def put_in_place(book: Book, staged: Staged, mode: QueueMode) -> None:
    """Let what was brought be the queue and the history."""
    book.journal += [("UNLINK", part) for part in _PARTS]
    book.journal += _renamings(staged)
    book.hold(Line(staged.slots), staged.history_size, mode)


def lose_running(book: Book, shown: Item, picture_time: float) -> None:
    """Treat what ran at the time of the backup as what is lost with its environment: it failed, and is to be run again.

    Args:
        book: is changed.
        shown: the item as clients saw it while it ran.
        picture_time: when that was, unix seconds.

    Raises:
        InvalidError: it is none that can have run.
    """
    marks = _marks_of(shown)
    item = {name: value for name, value in shown.items() if name != "properties"}
    if _uid_of(item) in book.line:
        raise InvalidError(f"the item '{_uid_of(item)}' is in the queue, and was running, too")
    book.running = Running(
        item=item,
        attempt=new_uid(),
        environment_id="",
        time_start=marks.get("time_start") or picture_time,
        immediate=bool(marks.get("immediate_execution")),
    )
    report = deciding.failed(book.running, LOST)
    deciding.file_and_stop(book, report.model_copy(update={"time_stop": picture_time or time.time()}))


def _renamings(staged: Staged) -> Iterator[Command]:
    if staged.slots:
        yield ("RENAME", "staged:queue", "queue")
        yield ("RENAME", "staged:items", "items")
    if staged.history_size:
        yield ("RENAME", "staged:history", "history")


def _uid_of(item: Item) -> str:
    uid, name = item.get("item_uid"), item.get("name")
    if isinstance(uid, str) and uid and isinstance(name, str) and item.get("item_type") in (PLAN, INSTRUCTION):
        return uid
    raise InvalidError(f"this is no item of a queue: {_brief(item)}")


def _marks_of(shown: Item) -> dict[str, Any]:
    marks = shown.get("properties") or {}
    if isinstance(marks, dict) and isinstance(marks.get("time_start") or 0, (int, float)):
        return marks
    raise InvalidError(f"the 'properties' of the running item are no dictionary with its time_start: {_brief(shown)}")


def _brief(item: Item) -> str:
    return str(item)[:200]


def _chunks(entries: Iterable[Any]) -> Iterator[list[Any]]:
    remaining = iter(entries)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some
