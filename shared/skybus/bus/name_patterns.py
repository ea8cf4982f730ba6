"""Patterns that select names of plans and devices: `det1.val`, `:^det:val$`, `__MOTOR__:?.*:depth=2`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*(\.[_a-zA-Z0-9]+)*")
MATCH_ALL = (".*", ".+", "^.*$", ".")
DEPTH = re.compile(r"depth=([0-9]{1,9})")
LONGEST_SHOWN = 200
"""Characters of a line in what is said about it."""

KINDS: dict[str, dict[str, bool]] = {
    "": {},
    "__READABLE__": {"is_readable": True},
    "__DETECTOR__": {"is_readable": True, "is_movable": False},
    "__MOTOR__": {"is_readable": True, "is_movable": True},
    "__FLYABLE__": {"is_flyable": True},
}
"""Keyword before a pattern → what the description of a device must say."""


class Expression(Protocol):
    """A compiled regular expression: of `re`, or of an engine for expressions from outside."""

    @property
    def pattern(self) -> str:
        """As it was written."""
        ...

    def search(self, string: str, /) -> object:
        """Return something true if it fits anywhere in a text."""
        ...


Compile = Callable[[str], Expression]
"""Compiles a regular expression; raises `re.error` or ValueError."""


@dataclass(frozen=True)
class ExactName:
    """An expression that fits one name."""

    pattern: str

    def search(self, string: str, /) -> bool:
        """Tell whether a text is the name."""
        return string == self.pattern


@dataclass(frozen=True)
class Step:
    """What one level of the device tree must look like."""

    regex: Expression
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

    @property
    def step(self) -> Step:
        """What a device at this place must look like."""
        return self.pattern.steps[self.index]

    def visit(self, name: str, description: Mapping[str, Any]) -> tuple[bool, Place | None]:
        """Return whether the pattern selects this device, and from where it goes on below it."""
        step = self.step
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


def parse_device_pattern(text: str, compile_expression: Compile) -> NamePattern:
    """Read one line of a list of devices.

    Args:
        text: The line.
        compile_expression: What compiles its expressions. `re.compile` is for lines that user code gives to its own
            process, since an expression can keep `re` busy for ever.

    Raises:
        ValueError: It is neither a name nor a valid pattern.
    """
    compact = text.replace(" ", "")
    if ":" in compact:
        return _parse_regex(text, compact, compile_expression)
    if not NAME.fullmatch(compact):
        raise ValueError(f"{_shown(text)} is not a name; a regular expression starts with a colon, as in ':^det'")
    *above, last = compact.split(".")
    return NamePattern(text, (*(Step(ExactName(part), include=False) for part in above), Step(ExactName(last))))


def parse_plan_pattern(text: str, compile_expression: Compile) -> NamePattern:
    """Read one line of a list of plans or functions.

    Raises:
        ValueError: It is no valid pattern, or has what only devices can have: levels, a depth, a kind.
    """
    pattern = parse_device_pattern(text, compile_expression)
    if len(pattern.steps) != 1 or pattern.kind or pattern.steps[0].depth is not None:
        raise ValueError(f"{_shown(text)} selects plans or functions: one expression without depth and device type")
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


def _parse_regex(text: str, compact: str, compile_expression: Compile) -> NamePattern:
    kind, *parts = compact.split(":")
    if kind not in KINDS:
        known = ", ".join(filter(None, KINDS))
        raise ValueError(f"{_shown(text)} starts with unknown device type {_shown(kind)}; known are {known}")
    full_name_at = next((n for n, part in enumerate(parts) if part.startswith("?")), None)
    depth = _take_depth(text, parts, full_name_at)
    last = len(parts) - 1
    steps = tuple(_step(text, part, depth, compile_expression, is_last=n == last) for n, part in enumerate(parts))
    return NamePattern(text, steps, kind, is_regex=True)


def _take_depth(text: str, parts: list[str], full_name_at: int | None) -> int | None:
    """Remove the depth that may follow a full-name expression and return it."""
    if full_name_at is None or full_name_at == len(parts) - 1:
        return None
    found = DEPTH.fullmatch(parts[-1])
    if full_name_at < len(parts) - 2 or not found:
        raise ValueError(
            f"{_shown(text)}: only ':depth=N' may follow the full-name expression {_shown(parts[full_name_at])}"
        )
    if int(found[1]) < 1:
        raise ValueError(f"{_shown(text)}: the depth must be 1 or more")
    parts.pop()
    return int(found[1])


def _step(text: str, part: str, depth: int | None, compile_expression: Compile, *, is_last: bool) -> Step:
    expression = part[1:] if part[:1] in ("+", "-", "?") else part
    if not expression:
        raise ValueError(f"{_shown(text)} contains an empty expression")
    try:
        regex = compile_expression(expression)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        where = f"{_shown(text)} contains an invalid regular expression {_shown(expression)}"
        raise ValueError(f"{where}: {error}") from error
    is_full_name = part.startswith("?")
    return Step(regex, is_last or not part.startswith("-"), is_full_name, depth if is_full_name else None)


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")
