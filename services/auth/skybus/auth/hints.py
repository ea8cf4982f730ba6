"""Suggests what somebody may have meant who misspelled a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

MOST_COMPARED = 100
"""Names that are compared letter by letter; a beamline has 13 000 and each comparison takes some 10 µs."""


def hint_for(name: str, tree: Mapping[str, Any]) -> str:
    """Return a sentence with the closest names of a tree of plans or devices; empty if none is close.

    In a dotted name the first part that leads nowhere is the one that is corrected.
    """
    parts = name.split(".")
    level = tree
    for index, part in enumerate(parts):
        if part not in level:
            return _sentence([_mend(parts, index, close, level) for close in _close(part, level)])
        level = level[part].get("components", {})
    return ""


def _mend(parts: list[str], index: int, close: str, level: Mapping[str, Any]) -> str:
    """Put the close name in place of the wrong one, with the rest of the name if it exists there."""
    mended = [*parts[:index], close]
    level = level[close].get("components", {})
    for part in parts[index + 1 :]:
        if part not in level:
            break
        mended.append(part)
        level = level[part].get("components", {})
    return ".".join(mended)


def _sentence(names: list[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""


def _close(name: str, known: Mapping[str, Any]) -> list[str]:
    candidates = known if len(known) <= MOST_COMPARED else islice(_likely(name, known), MOST_COMPARED)
    return get_close_matches(name, candidates, n=3, cutoff=0.6)


def _likely(name: str, known: Iterable[str]) -> Iterator[str]:
    """Yield the names that could be it at a glance: about as long, and with the same beginning or end."""
    beginning, end = name[:2].lower(), name[-2:].lower()
    similar = [(other, other.lower()) for other in known if abs(len(other) - len(name)) <= 3]
    yield from (other for other, lower in similar if lower.startswith(beginning))
    yield from (other for other, lower in similar if lower.endswith(end) and not lower.startswith(beginning))
