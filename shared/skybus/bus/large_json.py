"""JSON of many kilobytes: how much memory its values take is estimated from its bytes, and it is read in slices.

A parser holds the interpreter's lock from the first byte to the last, so that a thread alone does not let the event
loop go on. Here msgspec finds the elements of large lists and objects without making values of them. The parser then
reads them slice by slice, and the lock is free between two slices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.scanner import py_make_scanner  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

import msgspec
from pydantic_core import from_json

from skybus.bus.errors import InvalidError, TooLargeError

LARGE = 256 << 10
"""Bytes from which on a body is read, or written in pieces of this size, in a thread; a request is looked at first."""
EXPANSION = 4
"""Times the largest request: the bytes in memory that the values of one request may take, as they are estimated."""
_VALUE, _OBJECT_WITH_FIELD = 64, 192
"""Bytes that a value takes, roughly: a float or a short text in a list, or a list; and an object."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_SLICE = 64 << 10
"""Bytes that are read at a time."""
_DEEPEST = 16
"""Levels of lists and objects that are taken apart; each level copies the text."""
_LIST, _OBJECT = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(dict[str, msgspec.Raw])

Parse = Callable[[bytes], Any]


def require_bounded(data: bytes, most: int) -> None:
    """Check that the values of a JSON text take no more than `most` bytes; call it in a thread.

    Raises:
        TooLargeError: they take more.
    """
    if (size := estimated_size(data, most)) > most:
        raise too_many_values(size, most)


def too_many_values(size: int, most: int) -> TooLargeError:
    """The refusal of a body that has too many values for its size."""
    return TooLargeError(
        f"the request has so many values that they take at least {size:,} bytes of memory, "
        f"at most {most:,} are possible ({EXPANSION} times SKYBUS_MAX_REQUEST)"
    )


def estimated_size(data: bytes, most: int) -> int:
    """Estimate the bytes in memory of the values of a JSON text; behind `most` it is not looked at further.

    What counts is the punctuation outside of texts. It is counted everywhere first: that takes a hundredth of the time.
    """
    if (size := _cost(data)) <= most:
        return size
    size = end = 0
    for text in _STRING.finditer(data):
        size += _cost(data[end : text.start()])
        end = text.end()
        if size > most:
            return size
    return size + _cost(data[end:])


def read(data: bytes) -> Any:
    """Read a large JSON text as pydantic does; call it in a thread.

    Raises:
        InvalidError: it is not JSON.
    """
    try:
        return read_slices(data, _parse)
    except ValueError:
        return read_slowly(data)  # NaN, for one, is JSON for Python alone


def read_slices(data: bytes, parse: Parse) -> Any:
    """Read a large JSON text slice by slice.

    Args:
        data: the text.
        parse: reads a slice, which is JSON, too.

    Raises:
        ValueError: it is not JSON, or has too many levels.
    """
    try:
        return _read(data, parse)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def read_slowly(data: bytes) -> Any:
    """Read with the parser that is written in Python: it gives the interpreter's lock away as any code does.

    Raises:
        InvalidError: it is not JSON.
    """
    decoder: Any = json.JSONDecoder()
    decoder.scan_once = py_make_scanner(decoder)
    try:
        return decoder.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the request is not JSON: {error}") from None


def _cost(data: bytes) -> int:
    return _VALUE * (data.count(b",") + data.count(b"[")) + _OBJECT_WITH_FIELD * data.count(b"{")


def _read(text: bytes, parse: Parse, depth: int = 0) -> Any:
    if len(text) <= _SLICE:
        return parse(text)
    if depth > _DEEPEST:
        raise RecursionError
    match text.lstrip()[:1]:
        case b"{":
            return {name: _read(bytes(value), parse, depth + 1) for name, value in _OBJECT.decode(text).items()}
        case b"[":
            return _read_elements(_LIST.decode(text), len(text), parse, depth + 1)
        case _:
            return parse(text)


def _read_elements(elements: list[msgspec.Raw], size: int, parse: Parse, depth: int) -> list[Any]:
    """Read the elements of a list that has `size` bytes, as many together as make a slice if all have the same size."""
    together = max(1, len(elements) * _SLICE // size)
    found = list[Any]()
    for begin in range(0, len(elements), together):
        some = elements[begin : begin + together]
        text = b"[%b]" % b",".join(some)
        if len(text) <= 2 * _SLICE:
            found += parse(text)
        elif len(some) == 1:
            found.append(_read(bytes(some[0]), parse, depth))
        else:
            found += _read_elements(some, len(text), parse, depth)
    return found


def _parse(data: bytes) -> Any:
    return from_json(data, allow_inf_nan=True)
