"""Checks values against the type strings of the catalogue, without running any of them as code."""

from __future__ import annotations

import ast
import collections.abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

NAMED_TYPES = {
    "__DEVICE__": ("device",),
    "__READABLE__": ("device",),
    "__MOVABLE__": ("device",),
    "__FLYABLE__": ("device",),
    "__PLAN__": ("plan",),
    "__PLAN_OR_DEVICE__": ("plan", "device"),
}
"""Built-in type → what its strings name."""


class TypeMismatchError(ValueError):
    """A value does not fit a type; the message says what it is and what would be right."""


class Names(Protocol):
    """What a parameter's own type names and the names of plans and devices mean."""

    def check_choice(self, type_name: str, value: Any) -> bool:
        """Check a value against an enum of the parameter; return whether there is such an enum."""
        ...

    def check_name(self, kinds: tuple[str, ...], value: str) -> None:
        """Check that a string names an allowed device or plan."""


class Shape(Protocol):
    """One node of a type expression."""

    def check(self, value: Any, names: Names) -> None:
        """Raise if the value does not fit."""


@dataclass(frozen=True)
class Anything:
    """A type that says nothing, or that only the worker knows."""

    def check(self, value: Any, names: Names) -> None:
        """Accept every value."""


@dataclass(frozen=True)
class Simple:
    """A plain Python type."""

    label: str

    def check(self, value: Any, names: Names) -> None:
        """Accept values of the type itself; integers also as floats."""
        if not SIMPLE[self.label](value):
            raise _mismatch(value, self.label)


@dataclass(frozen=True)
class Series:
    """A list, tuple, set or sequence of items of one type."""

    label: str
    item: Shape

    def check(self, value: Any, names: Names) -> None:
        """Accept lists and their kin, not strings."""
        if not isinstance(value, list | tuple | set | frozenset):
            raise _mismatch(value, self.label + (f", such as [{shorten(value)}]" if isinstance(value, str) else ""))
        for index, item in enumerate(value):
            _check_inner(f"item {index}", self.item, item, names)


@dataclass(frozen=True)
class FixedTuple:
    """A tuple with one type for each place."""

    label: str
    places: tuple[Shape, ...]

    def check(self, value: Any, names: Names) -> None:
        """Accept lists and tuples of that length."""
        if not isinstance(value, list | tuple) or len(value) != len(self.places):
            raise _mismatch(value, self.label)
        for index, (shape, item) in enumerate(zip(self.places, value, strict=True)):
            _check_inner(f"item {index}", shape, item, names)


@dataclass(frozen=True)
class Table:
    """A dictionary."""

    label: str
    key: Shape
    value: Shape

    def check(self, value: Any, names: Names) -> None:
        """Accept dictionaries whose keys and values fit."""
        if not isinstance(value, Mapping):
            raise _mismatch(value, self.label)
        for key, inner in value.items():
            _check_inner("key", self.key, key, names)
            _check_inner(f"value of {key!r}", self.value, inner, names)


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def check(self, value: Any, names: Names) -> None:
        """Accept the listed values."""
        if not any(value == choice and type(value) is type(choice) for choice in self.values):
            raise _mismatch(value, " or ".join(map(repr, self.values)))


@dataclass(frozen=True)
class Union:
    """One of several types."""

    label: str
    options: tuple[Shape, ...]

    def check(self, value: Any, names: Names) -> None:
        """Accept what fits any of them; the complaint of a name says most, so it is the one passed on."""
        refusals: list[Exception] = []
        for option in self.options:
            try:
                return option.check(value, names)
            except Exception as refusal:  # TypeMismatchError or a refusal of `names`
                refusals.append(refusal)
        about_names = [refusal for refusal in refusals if not isinstance(refusal, TypeMismatchError)]
        raise about_names[0] if about_names else _mismatch(value, self.label)


@dataclass(frozen=True)
class Own:
    """A name that is no Python type: an enum of the parameter, a built-in type, or a class of the worker."""

    name: str

    def check(self, value: Any, names: Names) -> None:
        """Accept what the enum lists, or the name of something allowed."""
        if names.check_choice(self.name, value):
            return
        if self.name == "__CALLABLE__" or self.name in NAMED_TYPES:
            if not isinstance(value, str):
                raise _mismatch(value, _WANTED.get(self.name, "the name of a device or plan"))
            names.check_name(NAMED_TYPES.get(self.name, ()), value)


_WANTED = {"__CALLABLE__": "the name of a function", "__PLAN__": "the name of a plan"} | dict.fromkeys(
    ("__DEVICE__", "__READABLE__", "__MOVABLE__", "__FLYABLE__"), "the name of a device"
)

SIMPLE: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, int | float),
    "complex": lambda value: isinstance(value, int | float | complex),
    "bool": lambda value: isinstance(value, int) and value in (0, 1),
    "str": lambda value: isinstance(value, str),
    "bytes": lambda value: isinstance(value, bytes | str),
    "None": lambda value: value is None,
    "Hashable": lambda value: isinstance(value, collections.abc.Hashable),
}
ALIASES = {"NoneType": "None"}
SERIES = {"list", "set", "frozenset", "Sequence", "MutableSequence", "Iterable", "Iterator", "Collection"} | {
    "List",
    "Set",
    "FrozenSet",
    "AbstractSet",
    "MutableSet",
    "Container",
}
TUPLES = {"tuple", "Tuple"}
TABLES = {"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "DefaultDict", "defaultdict"}
ANYTHING = Anything()


@lru_cache(maxsize=4096)
def parse_type(text: str) -> Shape:
    """Read a type string such as `list[__READABLE__] | None`; what is not understood accepts anything."""
    try:
        return _parse(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError:
        return ANYTHING


def _parse(node: ast.expr) -> Shape:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union(ast.unparse(node), tuple(_parse(option) for option in _options(node)))
    if isinstance(node, ast.Subscript):
        return _parse_generic(node)
    if isinstance(node, ast.Constant):
        return _parse_constant(node)
    return _parse_name(node)


def _options(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_options(node.left), *_options(node.right)]
    return [node]


def _parse_constant(node: ast.Constant) -> Shape:
    if node.value is None:
        return Simple("None")
    return parse_type(node.value) if isinstance(node.value, str) else ANYTHING


def _parse_name(node: ast.expr) -> Shape:
    name = _last_name(node)
    name = ALIASES.get(name, name)
    if name in SIMPLE:
        return Simple(name)
    if name in SERIES or name in TUPLES:
        return Series(name, ANYTHING)
    if name in TABLES:
        return Table(name, ANYTHING, ANYTHING)
    return Own(name) if isinstance(node, ast.Name) else ANYTHING


def _parse_generic(node: ast.Subscript) -> Shape:
    head, label = _last_name(node.value), ast.unparse(node)
    arguments = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if head == "Literal":
        return Choice(tuple(argument.value for argument in arguments if isinstance(argument, ast.Constant)))
    if head == "Annotated":
        return _parse(arguments[0])
    if head == "Union":
        return Union(label, tuple(map(_parse, arguments)))
    if head == "Optional":
        return Union(label, (_parse(arguments[0]), Simple("None")))
    if head in SERIES:
        return Series(label, _parse(arguments[0]))
    if head in TABLES and len(arguments) == 2:
        return Table(label, _parse(arguments[0]), _parse(arguments[1]))
    if head in TUPLES:
        return _parse_tuple(label, arguments)
    return ANYTHING


def _parse_tuple(label: str, arguments: list[ast.expr]) -> Shape:
    last = arguments[-1] if arguments else None
    if isinstance(last, ast.Constant) and last.value is ...:
        return Series(label, _parse(arguments[0]))
    return FixedTuple(label, tuple(map(_parse, arguments)))


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _check_inner(where: str, shape: Shape, value: Any, names: Names) -> None:
    try:
        shape.check(value, names)
    except TypeMismatchError as refusal:
        raise TypeMismatchError(f"{where}: {refusal}") from refusal


def _mismatch(value: Any, wanted: str) -> TypeMismatchError:
    for ours, people in _SPOKEN.items():
        wanted = wanted.replace(ours, people)
    return TypeMismatchError(f"{shorten(value)} ({type(value).__name__}) should be {wanted}")


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
}
"""How a message shows what the catalogue writes."""


def shorten(value: Any, limit: int = 80) -> str:
    """Return the source form of a value as text that fits into a sentence."""
    return shown(repr(value), limit)


def shown(value: Any, limit: int = 80) -> str:
    """Return a value as text that fits into a sentence."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
