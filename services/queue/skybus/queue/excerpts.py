"""Items without what is large in them, for those who only show a queue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skybus.bus.api.items import LEFT_OUT, Item

_LARGE_FIELDS = ("args", "kwargs", "meta")


def excerpts(items: Iterable[Item], most: int | None) -> list[Item]:
    """The items, each without its arguments and metadata that have more than `most` bytes as JSON."""
    return list(items) if most is None else [excerpt(item, most) for item in items]


def excerpt(item: Item, most: int | None) -> Item:
    """One item as `excerpts` shows it; what is left out stands in `left_out`."""
    if most is None:
        return item
    large = [name for name in _LARGE_FIELDS if name in item and _left(item[name], most) < 0]
    if not large:
        return item
    return {**{name: value for name, value in item.items() if name not in large}, LEFT_OUT: large}


def _left(value: Any, room: int) -> int:
    """How many of some bytes a value leaves, about as JSON; below zero it is not looked at to its end."""
    if isinstance(value, str):
        return room - len(value) - 2
    if isinstance(value, list | tuple):
        parts: Iterable[Any] = value
    elif isinstance(value, dict):
        parts = (part for pair in value.items() for part in pair)
    else:
        return room - len(repr(value))
    room -= 2
    for part in parts:
        room = _left(part, room) - 1
        if room < 0:
            break
    return room
