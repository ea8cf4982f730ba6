"""Writes type hints of plan parameters as the strings that the catalogue carries."""

from __future__ import annotations

import builtins
import collections.abc
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from bluesky import protocols

from skybus.bus.type_strings import evaluate_type, names_in
from skybus.worker.environment.defaults import has_lone_surrogate
from skybus.worker.environment.user_objects import shown

TOKENS: dict[Any, str] = {
    protocols.Readable: "__READABLE__",
    protocols.Movable: "__MOVABLE__",
    protocols.Flyable: "__FLYABLE__",
    protocols.NamedMovable: "__MOVABLE__",
    protocols.Configurable: "__DEVICE__",
    protocols.Triggerable: "__DEVICE__",
    protocols.Locatable: "__DEVICE__",
    protocols.Stageable: "__DEVICE__",
    protocols.Pausable: "__DEVICE__",
    protocols.Stoppable: "__DEVICE__",
    protocols.Subscribable: "__DEVICE__",
    protocols.Checkable: "__DEVICE__",
    protocols.Preparable: "__DEVICE__",
    protocols.Collectable: "__DEVICE__",
}
"""Protocol in a type hint → the built-in type that clients know."""

CONVERSIONS: dict[str, tuple[str, ...]] = {
    "__PLAN__": ("convert_plan_names",),
    "__DEVICE__": ("convert_device_names",),
    "__PLAN_OR_DEVICE__": ("convert_plan_names", "convert_device_names"),
    "__READABLE__": ("convert_device_names",),
    "__MOVABLE__": ("convert_device_names",),
    "__FLYABLE__": ("convert_device_names",),
    "__CALLABLE__": ("eval_expressions",),
}
"""Built-in type → which strings a parameter of that type has replaced by objects."""

ROOTS = {"typing", "collections", "bluesky", "enum", "NoneType", *CONVERSIONS}
"""Names that a type string of the decorator may begin with, besides Python's own and the decorator's enums."""

KNOWN_PACKAGES = ("typing", "collections", "bluesky")
"""Classes from here keep their full name in the catalogue."""


class UnknownTypeError(ValueError):
    """A type hint that cannot be written as a string which clients understand."""


class UnwritableHintError(ValueError):
    """A type hint that is one of the types which clients know, with a part that cannot be written."""


def type_name(hint: Any) -> str | None:
    """Return a type hint as a string, or None if clients could not make sense of it.

    Raises:
        UnwritableHintError: A part of it cannot be written.
        Exception: It is an object of user code that cannot be looked at.
    """
    try:
        return _write(hint)
    except UnknownTypeError:
        return None


def resolve_hint(hint: Any, plan: Callable[..., Any]) -> Any:
    """Look up a hint that is a string (`from __future__ import annotations`) where the plan was written."""
    if not isinstance(hint, str):
        return hint
    try:
        return evaluate_type(hint, functools.partial(_look_up, getattr(inspect.unwrap(plan), "__globals__", {})))
    except Exception:  # a name that exists for type checkers only, or a hint that is no type
        return inspect.Parameter.empty


def conversions(type_string: str, own_types: Iterable[str] = ()) -> list[str]:
    """Return the conversion flags that the built-in types in a type string call for."""
    names = names_in(type_string) - set(own_types)
    return sorted({flag for token in names & set(CONVERSIONS) for flag in CONVERSIONS[token]})


def check_type_string(type_string: str, own_types: Iterable[str]) -> None:
    """Check a type string of the decorator against the names that it may use.

    Raises:
        ValueError: It is not an expression, uses an unknown name, or leaves a type of its own unused.
    """
    own = set(own_types)
    names = names_in(type_string)
    if unused := sorted(own - names):
        raise ValueError(f"type {unused[0]!r} is defined, but not used in the parameter type {type_string!r}")
    known = own | ROOTS
    if unknown := sorted(name for name in names - known if not hasattr(builtins, name)):
        raise ValueError(f"parameter type {type_string!r} uses unknown name {unknown[0]!r}")


def _look_up(namespace: dict[str, Any], name: str) -> Any:
    first, *rest = name.split(".")
    return functools.reduce(getattr, rest, namespace[first] if first in namespace else vars(builtins)[first])


def _write(hint: Any) -> str:
    if hint is None:
        return "None"
    if hint is type(None):
        return "NoneType"
    if token := _token(hint):
        return token
    if isinstance(hint, types.UnionType):
        return " | ".join("None" if arg is type(None) else _write(arg) for arg in hint.__args__)
    if hint is typing.Any or (typing.get_origin(hint) is None and not isinstance(hint, type)):
        return _write_special(hint)
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return _write_class(hint)
    return _write_generic(hint)


def _token(hint: Any) -> str | None:
    origin = typing.get_origin(hint) or hint
    if origin is collections.abc.Callable:
        for argument in typing.get_args(hint):
            _check_argument(argument)
        return "__CALLABLE__"
    if isinstance(origin, collections.abc.Hashable):
        return TOKENS.get(origin)
    return None


def _check_argument(argument: Any) -> None:
    """Refuse what clients of bluesky-queueserver do not get either, such as type variables inside a Callable."""
    for part in argument if isinstance(argument, list) else [argument]:
        _write(part)


def _write_special(hint: Any) -> str:
    """Write `typing.Any`, a bare `typing.List` and the like."""
    name = repr(hint)
    if hint is ...:
        return "..."
    if name.startswith("typing.") and not isinstance(hint, typing.TypeVar | typing.ForwardRef | typing.ParamSpec):
        return name
    raise UnknownTypeError(name)


def _write_class(hint: type) -> str:
    module, name = hint.__module__, hint.__qualname__
    if module == "builtins":
        return name
    if hint is collections.abc.Iterable:
        return "collections.abc.Iterable[typing.Any]"
    if module.split(".")[0] in KNOWN_PACKAGES:
        return f"{module}.{name}"
    raise UnknownTypeError(f"{module}.{name}")


def _write_generic(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if isinstance(origin, type) and not repr(hint).startswith("typing."):
        _write_class(origin)  # raises for a class that clients do not have
    head = repr(hint).split("[", 1)[0]
    if origin is typing.Literal:
        return f"{head}[{', '.join(map(_write_choice, typing.get_args(hint)))}]"
    if origin is typing.Annotated:
        return _write_annotated(hint)
    if repr(hint) == head:  # a bare typing.List
        return head
    args = typing.get_args(hint)
    if head == "typing.Optional":
        args = tuple(arg for arg in args if arg is not type(None))
    return f"{head}[{', '.join(map(_write, args)) or '()'}]"


def _write_choice(value: Any) -> str:
    """Write one value of a `Literal`; names are written as text, members of an enum cannot be."""
    text = repr(value)
    if type(value) not in (str, bytes, int, bool, type(None)) or has_lone_surrogate(text):
        raise UnwritableHintError(f"{shown(value)} is no plain value")
    return text


def _write_annotated(hint: Any) -> str:
    """Keep notes on a type that are plain values; others are lost, and the type stays."""
    written, notes = _write(typing.get_args(hint)[0]), hint.__metadata__
    if not all(map(_is_plain_note, notes)):
        return written
    return f"typing.Annotated[{', '.join([written, *map(repr, notes)])}]"


def _is_plain_note(note: Any) -> bool:
    if isinstance(note, float):
        return math.isfinite(note)
    return isinstance(note, str | int | bytes) and not has_lone_surrogate(repr(note))
