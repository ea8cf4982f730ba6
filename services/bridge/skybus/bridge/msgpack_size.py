"""How much memory the values of a msgpack message take, estimated from its bytes before any value is made.

See https://github.com/msgpack/msgpack/blob/master/spec.md: the first byte of a value says its type. The bytes
after it say how long the value is, or how many values it contains.
"""

from __future__ import annotations

from skybus.bus.errors import InvalidError
from skybus.bus.large_json import too_many_values

_VALUE, _MAP = 64, 192
"""Bytes that a value takes, roughly, and what a map takes beside its values."""
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4}
_FIXED |= {0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
"""Bytes behind the first one, of values that always have as many."""
_LENGTH = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length that follows, of bytes, extensions and texts."""
_EXTENSIONS = (0xC7, 0xC8, 0xC9)
"""They have one byte more, for their type."""
_NUMBER = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""Bytes of the number that follows, of arrays and maps."""
_MAPS = (0xDE, 0xDF)


def require_bounded(data: bytes, most: int) -> None:
    """Check that the values of a message take no more than `most` bytes; call it in a thread.

    Raises:
        TooLargeError: they take more.
        InvalidError: the message is cut off.
    """
    at, left, size = 0, 1, 0
    while left:
        left -= 1
        at, values, is_map = _next(data, at)
        left += values
        size += _VALUE + _MAP * is_map
        if (least := size + _VALUE * left) > most:
            raise too_many_values(least, most)


def _next(data: bytes, at: int) -> tuple[int, int, bool]:
    """Skip a value: where the next one begins, how many values belong to this one, and whether it is a map."""
    if at >= len(data):
        raise InvalidError("MSGPACK decode error: the message is cut off")
    kind, at = data[at], at + 1
    if kind < 0x80 or kind >= 0xE0:
        return at, 0, False
    if kind < 0x90:
        return at, 2 * (kind & 0x0F), True
    if kind < 0xA0:
        return at, kind & 0x0F, False
    if kind < 0xC0:
        return at + (kind & 0x1F), 0, False
    if kind in _FIXED:
        return at + _FIXED[kind], 0, False
    if width := _LENGTH.get(kind):
        length = int.from_bytes(data[at : at + width], "big")
        return at + width + length + (kind in _EXTENSIONS), 0, False
    width = _NUMBER.get(kind, 0)
    number = int.from_bytes(data[at : at + width], "big")
    return at + width, number * (1 + (kind in _MAPS)), kind in _MAPS
