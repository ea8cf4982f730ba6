"""JSON in which every number keeps its value: NaN, the infinities and integers beyond 64 bits too.

orjson writes NaN as null, refuses integers beyond 64 bits, and reads them as floats. Python's json module keeps them,
and so do the clients of the reference. What orjson cannot write is written as `NaN`, `Infinity` or digits, as the json
module writes it. An ordinary value costs a search for `null` in the bytes that orjson has written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from enum import Enum
from functools import partial
from math import isfinite
from typing import Any
from uuid import UUID

import orjson
from pydantic_core import from_json

from skybus.bus.errors import InvalidError

Default = Callable[[Any], Any]
"""Returns what to write in place of a value that JSON does not know; raises TypeError."""

_MOST_DIGITS = 4300
"""Of an integer: Python reads no more from text, unless it is told to."""
_WRITTEN_BY_ORJSON = (orjson.Fragment, datetime, date, time, UUID, Enum)
_KINDS = "fM"
"""Of arrays of numpy that keep the way in which orjson writes them: floats and dates."""
_TOO_LONG = 10**_MOST_DIGITS
_DOUBLE = 8
"""Bytes of a float of Python."""
_LARGEST_TO_EXPLAIN = 4 << 20
"""Bytes of a text that is read again to find out which value in it cannot be carried."""

read_json = partial(from_json, cache_strings="keys")
"""Read JSON, or raise ValueError; orjson would read an integer beyond 64 bits as a float."""


def write_json(value: Any, default: Default | None = None, *, indent: bool = False) -> bytes:
    """Write a value as JSON.

    Args:
        value: what is written.
        default: asked for what is no JSON type.
        indent: whether people read it.

    Raises:
        InvalidError: a text in it cannot be carried; the message names the parameter.
        TypeError: something in it is not JSON, or its parts lie too deep in each other.
        ValueError: an integer in it has too many digits.
    """
    option = orjson.OPT_NON_STR_KEYS | _numpy_option() | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        body = orjson.dumps(value, default, option)
    except TypeError as error:
        try:
            written = _Written(default).of(value)
        except RecursionError:
            raise error from None
    else:
        if b"null" not in body or not _may_be_lost(value, body, default):
            return body
        written = _Written(default).of(value)
    return orjson.dumps(written, default, option)


def unreadable(data: bytes) -> str:
    """Name the values in a JSON text that it is refused for; empty if it is refused for something else."""
    if len(data) > _LARGEST_TO_EXPLAIN:
        return ""
    try:
        value = json.loads(data, parse_int=_LongInteger)
        return "; ".join(_reasons(value, ()))
    except (ValueError, RecursionError):
        return ""


def half_character(where: str) -> str:
    """Say that a text has a lone surrogate."""
    return (
        f"{where}: the text has half a character (a lone surrogate, as in the name of a file that is not UTF-8), "
        "which cannot be carried; text.encode('utf-8', 'backslashreplace').decode() makes one that can"
    )


def has_half_character(text: str) -> bool:
    """Whether a text has a lone surrogate."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


class _Written:
    """Puts into the place of each value that orjson would refuse, or change, the text that stands for it in JSON."""

    def __init__(self, default: Default | None) -> None:
        self._default = default

    def of(self, value: Any, where: tuple[str, ...] = ()) -> Any:
        """The value; `where` is its place."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value, where)
        if isinstance(value, int):
            return value if -(1 << 63) <= value < 1 << 64 else _integer(int(value), where)
        if isinstance(value, float):
            return value if isfinite(value) else _number(float(value))
        if isinstance(value, Mapping):
            return {_key(key, where): self.of(inner, (*where, str(key))) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(inner, (*where, str(number))) for number, inner in enumerate(value)]
        if isinstance(value, _WRITTEN_BY_ORJSON):
            return value
        if _is_numpy(value) and value.dtype.kind in _KINDS:
            return _numbers(value) if value.dtype.kind == "f" else value
        return self.of(_simpler(value, self._default), where)


class _LongInteger(str):
    """An integer of a text, not yet read."""


def _numpy_option() -> int:
    """Let orjson write values of numpy; it would load numpy to know them, 0.1 s for a service that has none."""
    return orjson.OPT_SERIALIZE_NUMPY if "numpy" in sys.modules else 0


def _may_be_lost(value: Any, body: bytes, default: Default | None) -> bool:
    """Whether orjson may have written null for a number; not if its own fields without a value are all that is null."""
    if isinstance(value, dict) and body.count(b"null") == sum(part is None for part in value.values()):
        return False
    return b'"null":' in body or _is_lost((value,), default)


def _is_lost(values: Iterable[Any], default: Default | None) -> bool:
    """Whether orjson has written null for a number among some values, or in one of them."""
    for value in values:
        kind = type(value)
        if kind is str or kind is int or value is None or kind is bool:
            continue
        if kind is float:
            if not isfinite(value):
                return True
        elif kind is dict:
            if _is_lost(value.values(), default):
                return True
        elif kind is list:
            if _is_lost(value, default):
                return True
        elif _is_lost_in_other(value, default):
            return True
    return False


def _is_lost_in_other(value: Any, default: Default | None) -> bool:
    """The same for a value of another type."""
    if isinstance(value, float):
        return not isfinite(value)
    if isinstance(value, Mapping):
        return _is_lost(value.values(), default)
    if isinstance(value, list | tuple):
        return _is_lost(value, default)
    if isinstance(value, (str, int, *_WRITTEN_BY_ORJSON)):
        return False
    return _is_lost((_simpler(value, default),), default)


def _simpler(value: Any, default: Default | None) -> Any:
    """What is written in place of a value that is no JSON type."""
    if _is_numpy(value):
        return value.tolist()
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if default is None:
        raise TypeError(f"{type(value).__name__} is not a JSON type")
    return default(value)


def _is_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)


def _text(text: str, where: tuple[str, ...]) -> str:
    if has_half_character(text):
        raise InvalidError(half_character(_parameter(where)))
    return text


def _key(key: Any, where: tuple[str, ...]) -> Any:
    """The name of a value in an object: numbers as the json module writes them."""
    if isinstance(key, str):
        return _text(key, where)
    return json.dumps(key) if isinstance(key, int | float) else key


def _integer(number: int, where: tuple[str, ...]) -> orjson.Fragment:
    if abs(number) >= _TOO_LONG:
        raise InvalidError(_too_long(where))
    return _number(number)


def _number(number: float) -> orjson.Fragment:
    return orjson.Fragment(json.dumps(number).encode())


def _numbers(array: Any) -> orjson.Fragment:
    """The floats of an array: orjson writes them, and null for those that are put in afterwards."""
    plain = array.astype(float) if array.itemsize > _DOUBLE else array
    flat = plain.ravel()
    lost = [json.dumps(number).encode() for number in flat[~sys.modules["numpy"].isfinite(flat)].tolist()]
    pieces = orjson.dumps(plain, lambda array: array.tolist(), orjson.OPT_SERIALIZE_NUMPY).split(b"null")
    return orjson.Fragment(b"".join(piece + number for piece, number in zip(pieces, [*lost, b""], strict=True)))


def _parameter(where: Iterable[str]) -> str:
    return f"parameter {'.'.join(where)!r}"


def _too_long(where: Iterable[str]) -> str:
    return f"{_parameter(where)}: the integer has more than {_MOST_DIGITS} digits, which nobody reads: send it as text"


def _reasons(value: Any, where: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, _LongInteger):
        if len(value) > _MOST_DIGITS:
            yield _too_long(where)
    elif isinstance(value, str):
        if has_half_character(value):
            yield half_character(_parameter(where))
    elif isinstance(value, dict):
        for key, inner in value.items():
            if has_half_character(key):
                yield half_character(_parameter((*where, key)))
            yield from _reasons(inner, (*where, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _reasons(inner, (*where, str(number)))
