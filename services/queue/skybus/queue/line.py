"""Items in order, in memory: any place is found by position or by uid without walking the line.

Each item has a number, its key; the line is sorted by key. An item put between two others gets a key between theirs, so
that nothing else has to be touched, here or in Redis (where the line is a sorted set with the keys as scores).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from skybus.bus.api.items import Item
from skybus.bus.errors import ConflictError, InvalidError, NotFoundError

Position = int | Literal["front", "back"]

GAP = 1024.0
"""Between the keys of neighbours, when there is room."""


class Slot(NamedTuple):
    """An item and its key."""

    key: float
    item: Item


class Line:
    """The items that wait."""

    def __init__(self, slots: Sequence[Slot] = ()) -> None:
        ordered = sorted(slots, key=lambda slot: slot.key)
        self._keys = [slot.key for slot in ordered]
        self._uids = [slot.item["item_uid"] for slot in ordered]
        self._slots = {slot.item["item_uid"]: slot for slot in ordered}

    def __len__(self) -> int:
        return len(self._uids)

    def __contains__(self, uid: object) -> bool:
        return uid in self._slots

    def __iter__(self) -> Iterator[Item]:
        return (self._slots[uid].item for uid in self._uids)

    def page(self, offset: int, limit: int | None) -> list[Item]:
        """Items from `offset` on."""
        stop = None if limit is None else offset + limit
        return [self._slots[uid].item for uid in self._uids[offset:stop]]

    def item(self, uid: str) -> Item:
        """The item with this uid."""
        return self._slot(uid).item

    def key(self, uid: str) -> float:
        """The key of the item with this uid."""
        return self._slot(uid).key

    def index(self, uid: str) -> int:
        """Where the item with this uid stands."""
        return bisect_left(self._keys, self._slot(uid).key)

    def uid_at(self, pos: Position) -> str:
        """Who stands at a position; a negative one counts from the back."""
        index = {"front": 0, "back": -1}[pos] if isinstance(pos, str) else pos
        if not -len(self) <= index < len(self):
            raise NotFoundError(
                "Queue is empty" if not self._uids else f"Index '{index}' is out of range (the queue has {len(self)})"
            )
        return self._uids[index]

    def keys_for(self, index: int, count: int) -> list[float] | None:
        """Keys for `count` items put before the one at `index`; nothing if there is no room left between two keys."""
        before = self._keys[index - 1] if index > 0 else None
        after = self._keys[index] if index < len(self) else None
        if before is None or after is None:
            start = before + GAP if before is not None else (after - GAP * count if after is not None else 0.0)
            return [start + GAP * i for i in range(count)]
        step = (after - before) / (count + 1)
        keys = [before + step * (i + 1) for i in range(count)]
        return keys if _strictly_rising([before, *keys, after]) else None

    def put(self, slots: Sequence[Slot]) -> None:
        """Put items in, each where its key belongs; the slots are neighbours."""
        if not slots:
            return
        index = bisect_left(self._keys, slots[0].key)
        for slot in slots:
            if slot.item["item_uid"] in self._slots:
                raise ConflictError(f"Item with UID {slot.item['item_uid']} is already in the queue")
        self._keys[index:index] = [slot.key for slot in slots]
        self._uids[index:index] = [slot.item["item_uid"] for slot in slots]
        self._slots.update((slot.item["item_uid"], slot) for slot in slots)

    def replace(self, uid: str, item: Item) -> None:
        """Put another item, of the same or another uid, into the place of one."""
        index, key = self.index(uid), self.key(uid)
        del self._slots[uid]
        self._uids[index] = item["item_uid"]
        self._slots[item["item_uid"]] = Slot(key, item)

    def take(self, uids: Sequence[str]) -> list[Item]:
        """Take items out."""
        items = [self.item(uid) for uid in uids]
        if len(uids) > len(self) // 8:
            self._take_many(set(uids))
        else:
            for uid in uids:
                index = self.index(uid)
                del self._keys[index], self._uids[index], self._slots[uid]
        return items

    def renumber(self) -> list[tuple[str, float]]:
        """Give all items new keys with room between them, in the same order."""
        self._keys = [GAP * i for i in range(len(self))]
        self._slots = {uid: Slot(key, self._slots[uid].item) for uid, key in zip(self._uids, self._keys, strict=True)}
        return list(zip(self._uids, self._keys, strict=True))

    def _take_many(self, uids: set[str]) -> None:
        left = [(key, uid) for key, uid in zip(self._keys, self._uids, strict=True) if uid not in uids]
        self._keys = [key for key, _ in left]
        self._uids = [uid for _, uid in left]
        self._slots = {uid: self._slots[uid] for uid in self._uids}

    def _slot(self, uid: str) -> Slot:
        try:
            return self._slots[uid]
        except KeyError:
            raise NotFoundError(f"Item with UID '{uid}' is not in the queue.") from None


def insertion_index(line: Line, pos: int | str | None) -> int:
    """Where in the line a position for a new item is: clipped at both ends, -1 is the back (as in the reference)."""
    if pos is None or pos == "back":
        return len(line)
    if pos == "front":
        return 0
    if not isinstance(pos, int):
        raise InvalidError(f"Parameter 'pos' has incorrect value: pos={pos!r}; it is a number, 'front' or 'back'")
    return min(pos, len(line)) if pos >= 0 else max(0, len(line) + pos + 1)


def _strictly_rising(values: list[float]) -> bool:
    return all(a < b for a, b in pairwise(values))
