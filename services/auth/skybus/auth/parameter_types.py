"""Checks values against the type strings of the catalogue, without running any of them as code."""

from __future__ import annotations

import ast
import builtins
import collections
import collections.abc
import typing
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, TypeAdapter, ValidationError, ValidationInfo
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from skybus.auth.type_words import Place, shorten, words_for
from skybus.bus.type_strings import TypeStringError, evaluate_type, fixed_places, parse_type

NAMED_TYPES = {
    "__DEVICE__": ("device",),
    "__READABLE__": ("device",),
    "__MOVABLE__": ("device",),
    "__FLYABLE__": ("device",),
    "__PLAN__": ("plan",),
    "__PLAN_OR_DEVICE__": ("plan", "device"),
    "__CALLABLE__": (),
}
"""Built-in type → what its strings name; of functions only the worker knows."""


class TypeMismatchError(ValueError):
    """A value does not fit a type; the message says what it is and what would be right."""


class Names(Protocol):
    """What a parameter's own types and the names of plans and devices mean."""

    def check_choice(self, type_name: str, value: str) -> None:
        """Check a value against an enum of the parameter."""

    def check_name(self, kinds: tuple[str, ...], value: str) -> None:
        """Check that a string names an allowed device or plan."""


class RefusedNameError(ValueError):
    """A string is no name that may stand there; the cause says why."""


def check_value(type_string: str, own_types: Iterable[str], value: Any, names: Names) -> None:
    """Check a value against a type string; one that says nothing here accepts anything.

    The type strings were made for pydantic, which decides what can be taken for what; as in the reference, a value
    is refused if it would have to become another type for that, except integers where floats are wanted.

    Raises:
        TypeMismatchError: It does not fit.
        Exception: `names` has refused a name.
    """
    adapter = _adapter(type_string, frozenset(own_types))
    if adapter is None:
        return
    try:
        place = _change(value, adapter.validate_python(value, context=names))
    except ValidationError as error:
        _raise_refusal(error)
        place = _deepest_place(error, value)
    if place is not None:
        raise _mismatch(type_string, value, place)


@lru_cache(maxsize=4096)
def places_of(type_string: str) -> list[str]:
    """Return the type of each place of a tuple that has a fixed number of them; none if the type is another."""
    try:
        return [ast.unparse(place) for place in fixed_places(parse_type(type_string))]
    except TypeStringError:
        return []


@lru_cache(maxsize=4096)
def _adapter(type_string: str, own_types: frozenset[str]) -> TypeAdapter[Any] | None:
    """Make what checks a type; None if there is nothing to check."""

    def resolve(name: str) -> Any:
        return Annotated[str, AfterValidator(_Choice(name))] if name in own_types else _resolve(name)

    try:
        return TypeAdapter(evaluate_type(type_string, resolve))
    except (PydanticUserError, SchemaError, TypeError, ValueError, LookupError, AttributeError, RecursionError):
        return None  # what values of this type are, only the worker knows


def _resolve(name: str) -> Any:
    """Return the type that a name stands for; classes that only the worker has may be anything."""
    if name in NAMED_TYPES:
        return Annotated[str, AfterValidator(_Name(NAMED_TYPES[name]))]
    if name == "NoneType":
        return None
    module, _, last = name.rpartition(".")
    if module in _MODULES and last in _MODULES[module].__all__:
        return getattr(_MODULES[module], last)
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) else Any


_MODULES = {"typing": typing, "collections": collections, "collections.abc": collections.abc}


class _Choice:
    """Checks that a string is listed in an enum of the parameter."""

    def __init__(self, type_name: str) -> None:
        self._type_name = type_name

    def __call__(self, value: str, info: ValidationInfo) -> str:
        return _ask(value, lambda names: names.check_choice(self._type_name, value), info)


class _Name:
    """Checks that a string names something."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._kinds = kinds

    def __call__(self, value: str, info: ValidationInfo) -> str:
        return _ask(value, lambda names: names.check_name(self._kinds, value), info)


def _ask(value: str, check: Any, info: ValidationInfo) -> str:
    """Let other types of a union have their turn when a name is refused."""
    try:
        check(info.context)
    except Exception as error:
        raise RefusedNameError from error
    return value


def _raise_refusal(error: ValidationError) -> None:
    """Pass on what was said of a name, if that is why: it says most."""
    for fault in error.errors(include_url=False, include_input=False):
        refusal = fault.get("ctx", {}).get("error")
        if isinstance(refusal, RefusedNameError) and refusal.__cause__:
            raise refusal.__cause__


def _change(given: Any, taken: Any) -> Place | None:
    """Return where a value was taken for one of another type."""
    if given is taken:  # as what may be anything is
        return None
    if isinstance(given, str) or not (isinstance(given, Iterable) and isinstance(taken, Iterable)):
        fits = isinstance(taken, type(given)) or (isinstance(given, int) and isinstance(taken, float))
        return None if fits else ()
    if isinstance(taken, set | frozenset):  # has lost the order
        return next(
            ((n,) for n, one in enumerate(given) if all(_change(one, other) is not None for other in taken)), None
        )
    for index, (inner_given, inner_taken) in enumerate(zip(given, taken, strict=False)):  # of dictionaries the keys
        place = _change(inner_given, inner_taken)
        if place is not None:
            return (index, *place)
    return None


def _deepest_place(error: ValidationError, value: Any) -> Place:
    """Return the place in a value about which most is known; pydantic's places also name members of unions."""
    places = [_place(fault["loc"], value) for fault in error.errors(include_url=False, include_context=False)]
    return max(places, key=len)


def _place(location: tuple[int | str, ...], value: Any) -> Place:
    place: Place = ()
    for step in location:
        if inside := _inside(value, step):
            place, value = (*place, step), inside[0]
    return place


def _mismatch(type_string: str, value: Any, place: Place) -> TypeMismatchError:
    where = ""
    for step in place:
        where += f"value of {step!r}: " if isinstance(value, Mapping) else f"item {step}: "
        value = next(iter(_inside(value, step)), value)
    wanted = words_for(parse_type(type_string), place, value)
    return TypeMismatchError(f"{where}{shorten(value)} ({type(value).__name__}) should be {wanted}")


def _inside(value: Any, step: int | str) -> list[Any]:
    """Return what is at a position or under a key, if anything is."""
    if isinstance(value, Mapping):
        return [value[step]] if step in value else []
    return list(value[step : step + 1]) if isinstance(value, list | tuple) and isinstance(step, int) else []
