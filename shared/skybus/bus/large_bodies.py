"""Messages of megabytes are written and read beside the event loop.

orjson and pydantic keep the interpreter's lock during a call: no other thread, the event loop's and that of the lease
among them, runs until the call returns. So a thread alone does not help. What is written is cut into pieces. What is
read cannot be cut in general: the size of a request bounds it, and it is read without garbage collections, which take
more than half of the time.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel

from skybus.bus.large_json import LARGE
from skybus.bus.messages import Message, encode, plain

_NUMBER, _KEY = 8, 8
"""Bytes counted for a number, and for the name of a value."""
_NUMBERS = {int, float, bool, type(None)}
_SOME = 64
"""Numbers that are looked at one by one."""
_NUMBERS_AT_ONCE = LARGE // 16
"""Numbers in a piece."""
_FRAGMENT = 512
"""Bytes counted for what is JSON already: it is only copied, and does not tell its size."""

T = TypeVar("T")


async def write(message: Message) -> bytes:
    """Write a message as JSON."""
    return await asyncio.to_thread(_written, message) if is_large(message) else encode(message)


async def write_made(make: Callable[[], Message]) -> bytes:
    """Make a message that may be large, and write it, both in a thread."""
    return await asyncio.to_thread(lambda: _written(make()))


async def read(decode: Callable[[type[T], bytes], T], cls: type[T], body: bytes) -> T:
    """Read a message with `decode` or `decode_request`.

    Raises:
        SkybusError: what that raises.
    """
    if len(body) <= LARGE:
        return decode(cls, body)
    return await asyncio.to_thread(_read, decode, cls, body)


def is_large(message: Message, most: int = LARGE) -> bool:
    """Whether a message has more than about `most` bytes as JSON."""
    try:
        return room_left(message, most) < 0
    except RecursionError:  # JSON has fewer levels: writing it says so
        return False


def room_left(value: Any, room: int) -> int:
    """Roughly, how many of some bytes a value leaves as JSON; once it is below zero, the rest is not looked at."""
    room -= 2
    if isinstance(value, str):
        return room - len(value)
    if isinstance(value, list | tuple):
        if _is_numbers(value):
            return room - _NUMBER * len(value)
        parts: Iterable[Any] = value
    elif isinstance(value, dict):
        room -= _KEY * len(value)
        parts = value.values()
    elif isinstance(value, BaseModel):
        parts = value.__dict__.values()
    elif isinstance(value, set | frozenset):
        parts = value
    else:
        return room - (_FRAGMENT if isinstance(value, orjson.Fragment) else _NUMBER)
    for part in parts:
        kind = type(part)
        if kind in _NUMBERS:
            room -= _NUMBER
        elif kind is str:  # most parts are such, and a call takes longer
            room -= len(part)
        else:
            room = room_left(part, room)
        if room < 0:
            break
    return room


def pieces(value: Any) -> Iterator[bytes]:
    """Write a value as JSON, about `LARGE` bytes at a time, as far as it has parts; a long text has none."""
    if isinstance(value, BaseModel | set | frozenset):
        value = plain(value)
    if isinstance(value, dict):
        yield from _pieces_of(value.items(), dict, b"{%b}")
    elif isinstance(value, list | tuple):
        yield from _pieces_of_numbers(value) if _is_numbers(value) else _pieces_of(value, list, b"[%b]")
    else:
        yield encode(value)


def _is_numbers(values: Sequence[Any]) -> bool:
    """Whether these are many numbers, such as the positions of a scan; to look at each in Python takes long."""
    return len(values) > _SOME and _NUMBERS.issuperset(map(type, values))


def _pieces_of_numbers(values: Sequence[Any]) -> Iterator[bytes]:
    yield b"["
    for begin in range(0, len(values), _NUMBERS_AT_ONCE):
        yield (b"," if begin else b"") + encode(values[begin : begin + _NUMBERS_AT_ONCE])[1:-1]
    yield b"]"


def _pieces_of(parts: Iterable[Any], kind: type[dict[Any, Any]] | type[list[Any]], brackets: bytes) -> Iterator[bytes]:
    """Write the parts of a value: as many together as fit, and one that is large in pieces of its own."""
    opening, closing = brackets.split(b"%b")
    yield opening
    comma, together, room = b"", list[Any](), LARGE
    for part in parts:
        left = room_left(part, room)
        if left >= 0:
            together.append(part)
            room = left
            continue
        if together:
            yield comma + encode(kind(together))[1:-1]
            comma, together, room = b",", [], LARGE
        left = room_left(part, LARGE)
        if left >= 0:
            together, room = [part], left
            continue
        key, value = part if kind is dict else (None, part)
        yield comma + (encode({key: 0})[1:-2] if kind is dict else b"")
        yield from pieces(value)
        comma = b","
    if together:
        yield comma + encode(kind(together))[1:-1]
    yield closing


def _written(message: Message) -> bytes:
    return b"".join(pieces(message))


def _read(decode: Callable[[type[T], bytes], T], cls: type[T], body: bytes) -> T:
    with _without_collections():
        return decode(cls, body)


_lock = threading.Lock()
_reading = 0
"""Threads that read at this moment."""


@contextmanager
def _without_collections() -> Iterator[None]:
    """Make no garbage collections: each looks at all of a million new objects again, and JSON has no cycles."""
    global _reading
    with _lock:
        _reading += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _reading -= 1
            if not _reading:
                gc.enable()
