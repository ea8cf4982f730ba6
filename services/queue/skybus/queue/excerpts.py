"""Items without what is large in them, for those who only show a queue."""

from __future__ import annotations

from collections.abc import Iterable

from skybus.bus.api.items import LEFT_OUT, Item
from skybus.bus.large_bodies import room_left

_LARGE_FIELDS = ("args", "kwargs", "meta")


def excerpts(items: Iterable[Item], most: int | None) -> list[Item]:
    """The items, each without its arguments and metadata that have more than `most` bytes as JSON."""
    return list(items) if most is None else [excerpt(item, most) for item in items]


def excerpt(item: Item, most: int | None, fields: Iterable[str] = _LARGE_FIELDS) -> Item:
    """One item as `excerpts` shows it; which of the `fields` are left out stands in `left_out`."""
    if most is None:
        return item
    large = [name for name in fields if name in item and room_left(item[name], most) < 0]
    if not large:
        return item
    return {**{name: value for name, value in item.items() if name not in large}, LEFT_OUT: large}
