"""Patterns that select names of plans and devices: `det1.val`, `:^det:val$`, `__MOTOR__:?.*:depth=2`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*(\.[_a-zA-Z0-9]+)*")
MATCH_ALL = (".*", ".+", "^.*$", ".")
DEPTH = re.compile(r"depth=([0-9]+)")

KINDS: dict[str, dict[str, bool]] = {
    "": {},
    "__READABLE__": {"is_readable": True},
    "__DETECTOR__": {"is_readable": True, "is_movable": False},
    "__MOTOR__": {"is_readable": True, "is_movable": True},
    "__FLYABLE__": {"is_flyable": True},
}
"""Keyword before a pattern → what the description of a device must say."""


@dataclass(frozen=True)
class Step:
    """What one level of the device tree must look like."""

    regex: re.Pattern[str]
    include: bool = True
    """Whether a match at this level is selected itself, or only leads to the next level."""
    is_full_name: bool = False
    """Whether the expression is tried on the rest of the dotted name, at this level and all below."""
    depth: int | None = None
    """How many levels a full-name expression reaches down; None is all of them."""

    @cached_property
    def fits_all(self) -> bool:
        """Whether every name matches; most lists of most sites hold such a step, so it is made quick."""
        return self.regex.pattern in MATCH_ALL


@dataclass(frozen=True)
class NamePattern:
    """One line of a list of names: an exact name or regular expressions, one for each level."""

    text: str
    steps: tuple[Step, ...]
    kind: str = ""
    is_regex: bool = False


@dataclass(frozen=True)
class Place:
    """How far a pattern has got on its way down the device tree."""

    pattern: NamePattern
    index: int = 0
    suffix: str = ""
    """The dotted name since a full-name expression took over."""
    level: int = 0

    def visit(self, name: str, description: Mapping[str, Any]) -> tuple[bool, Place | None]:
        """Return whether the pattern selects this device, and from where it goes on below it."""
        step = self.pattern.steps[self.index]
        if step.is_full_name:
            return self._visit_full_name(step, name, description)
        if not step.regex.search(name):
            return False, None
        is_last = self.index + 1 == len(self.pattern.steps)
        below = None if is_last else Place(self.pattern, self.index + 1)
        return step.include and self._fits(description), below

    def _visit_full_name(self, step: Step, name: str, description: Mapping[str, Any]) -> tuple[bool, Place | None]:
        is_deepest = step.depth is not None and self.level + 1 >= step.depth
        if step.fits_all:
            return self._fits(description), None if is_deepest else self._level_below
        suffix = f"{self.suffix}.{name}" if self.suffix else name
        below = None if is_deepest else Place(self.pattern, self.index, suffix, self.level + 1)
        return bool(step.regex.search(suffix)) and self._fits(description), below

    @cached_property
    def _level_below(self) -> Place:
        return Place(self.pattern, self.index, level=self.level + 1)

    def _fits(self, description: Mapping[str, Any]) -> bool:
        return all(bool(description.get(flag)) is wanted for flag, wanted in KINDS[self.pattern.kind].items())


@lru_cache(maxsize=4096)
def parse_device_pattern(text: str) -> NamePattern:
    """Read one line of a list of devices.

    Raises:
        ValueError: It is neither a name nor a valid pattern.
    """
    compact = text.replace(" ", "")
    if ":" in compact:
        return _parse_regex(text, compact)
    if not NAME.fullmatch(compact):
        raise ValueError(f"{text!r} is not a name; a regular expression starts with a colon, as in ':^det'")
    parts = compact.split(".")
    steps = [Step(re.compile(rf"^{re.escape(part)}$"), include=False) for part in parts[:-1]]
    return NamePattern(text, (*steps, Step(re.compile(rf"^{re.escape(parts[-1])}$"))))


@lru_cache(maxsize=4096)
def parse_plan_pattern(text: str) -> NamePattern:
    """Read one line of a list of plans or functions.

    Raises:
        ValueError: It is no valid pattern, or has what only devices can have: levels, a depth, a kind.
    """
    pattern = parse_device_pattern(text)
    if len(pattern.steps) != 1 or pattern.kind or pattern.steps[0].depth is not None:
        raise ValueError(f"{text!r} selects plans or functions: one expression without depth and device type")
    return pattern


def matches(pattern: NamePattern, name: str) -> bool:
    """Tell whether a plan or function pattern selects a name."""
    return bool(pattern.steps[0].regex.search(name))


def select_devices(patterns: Iterable[NamePattern], devices: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted names that device patterns select in a tree; exact names as they are, even if not in it."""
    for pattern in patterns:
        if not pattern.is_regex:
            yield pattern.text.replace(" ", "")
            continue
        yield from _select(Place(pattern), devices, "")


def _select(place: Place, devices: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, description in devices.items():
        is_selected, below = place.visit(name, description)
        if is_selected and not description.get("excluded"):
            yield prefix + name
        if below and "components" in description:
            yield from _select(below, description["components"], f"{prefix}{name}.")


def _parse_regex(text: str, compact: str) -> NamePattern:
    kind, *parts = compact.split(":")
    if kind not in KINDS:
        known = ", ".join(filter(None, KINDS))
        raise ValueError(f"{text!r} starts with unknown device type {kind!r}; known are {known}")
    full_name_at = next((n for n, part in enumerate(parts) if part.startswith("?")), None)
    depth = _take_depth(text, parts, full_name_at)
    last = len(parts) - 1
    steps = tuple(_step(text, part, depth, is_last=n == last) for n, part in enumerate(parts))
    return NamePattern(text, steps, kind, is_regex=True)


def _take_depth(text: str, parts: list[str], full_name_at: int | None) -> int | None:
    """Remove the depth that may follow a full-name expression and return it."""
    if full_name_at is None or full_name_at == len(parts) - 1:
        return None
    found = DEPTH.fullmatch(parts[-1])
    if full_name_at < len(parts) - 2 or not found:
        raise ValueError(f"{text!r}: only ':depth=N' may follow the full-name expression {parts[full_name_at]!r}")
    if int(found[1]) < 1:
        raise ValueError(f"{text!r}: the depth must be 1 or more")
    parts.pop()
    return int(found[1])


def _step(text: str, part: str, depth: int | None, *, is_last: bool) -> Step:
    expression = part[1:] if part[:1] in ("+", "-", "?") else part
    if not expression:
        raise ValueError(f"{text!r} contains an empty expression")
    try:
        regex = re.compile(expression)
    except re.error as error:
        raise ValueError(f"{text!r} contains an invalid regular expression {expression!r}: {error}") from error
    is_full_name = part.startswith("?")
    return Step(regex, is_last or not part.startswith("-"), is_full_name, depth if is_full_name else None)
