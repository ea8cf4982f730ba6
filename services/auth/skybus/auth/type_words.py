"""Says in words which type a value should have."""

from __future__ import annotations

import ast
from typing import Any

from skybus.bus.type_strings import arguments_of, fixed_places, head_of, members_of

Place = tuple[int | str, ...]
"""The way to a value inside another: positions and keys."""

_LEAVES = {"__CALLABLE__": "the name of a function", "__PLAN__": "the name of a plan"} | dict.fromkeys(
    ("__DEVICE__", "__READABLE__", "__MOVABLE__", "__FLYABLE__"), "the name of a device"
)
_SPOKEN = {
    "collections.abc.": "",
    "typing.": "",
    "__READABLE__": "Readable",
    "__MOVABLE__": "Movable",
    "__FLYABLE__": "Flyable",
    "__DEVICE__": "Device",
    "__PLAN__": "Plan",
    "__PLAN_OR_DEVICE__": "Plan | Device",
    "__CALLABLE__": "Callable",
    "NoneType": "None",
}
"""How a message shows what the catalogue writes."""

_SERIES = ("list", "set", "Sequence", "Iterable", "List", "Set")


def words_for(node: ast.expr, place: Place, value: Any) -> str:
    """Return what would be right at a place inside a value of a type, where `value` now is."""
    options = list(members_of(node))
    for step in place:
        options = [inner for option in options for below in _below(option, step) for inner in members_of(below)]
    return " or ".join(dict.fromkeys(_word(option, value) for option in options)) or "something else"


def _below(node: ast.expr, step: int | str) -> list[ast.expr]:
    """Return the type of what is at a position or under a key."""
    if not isinstance(node, ast.Subscript):
        return []
    if places := fixed_places(node):
        return [places[step]] if isinstance(step, int) and step < len(places) else []
    arguments = arguments_of(node)
    return [arguments[-1]] if isinstance(step, str) else arguments[:1]


def _word(node: ast.expr, value: Any) -> str:
    text = ast.unparse(node)
    if text in _LEAVES:
        return _LEAVES[text]
    if isinstance(node, ast.Subscript) and head_of(node) == "Literal":
        return " or ".join(map(ast.unparse, arguments_of(node)))
    for written, spoken in _SPOKEN.items():
        text = text.replace(written, spoken)
    return f"{text}, such as [{shorten(value)}]" if isinstance(value, str) and head_of(node) in _SERIES else text


def shorten(value: Any, limit: int = 80) -> str:
    """Return the source form of a value as text that fits into a sentence."""
    return shown(repr(value), limit)


def shown(value: Any, limit: int = 80) -> str:
    """Return a value as text that fits into a sentence."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
