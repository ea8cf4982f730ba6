"""How 0MQ messages become values and back: JSON or msgpack.

JSON as the reference's clients write it may have NaN and integers beyond 64 bits; orjson reads neither, and would
write NaN as null. So a value that orjson could not read is odd, and what has anything odd in it is written by the json
module.

Replies of megabytes, such as the devices of a beamline, go on to a client of JSON as the text that they arrive as:
only the names of their fields are looked at (13 000 devices: 9 ms, to read and write them takes 170).
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import msgpack
import msgspec
import orjson

from skybus.bridge.msgpack_size import require_bounded
from skybus.bus import large_json
from skybus.bus.errors import InvalidError

_LONG_NUMBER = b"0" * 19
"""May be beyond 64 bits: orjson refuses such an integer, or makes a float of it."""
_LONG_INTEGER = re.compile(rb"(?<![0-9.])[0-9]{19,}(?![0-9.eE])")
"""Most long rows of digits are those of floats, which orjson reads well."""
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord(" ") for byte in range(256))
"""Makes every digit a zero: to look for zeros takes a tenth of the time of a regular expression (7 MB: 90 ms)."""


class Decoded(NamedTuple):
    """A value, and whether only the json module could read it."""

    value: Any
    is_odd: bool = False


class Codec(Protocol):
    """An encoding of 0MQ messages."""

    name: str

    def loads(self, data: bytes) -> Decoded:
        """Read a message; raises InvalidError."""
        ...

    def loads_large(self, data: bytes, most: int) -> Decoded:
        """Read a message whose values take at most `most` bytes in memory, in a thread; raises InvalidError."""
        ...

    def loads_fields(self, data: bytes) -> Decoded:
        """Read a JSON object only as far as it takes to write its fields with `dumps`; raises InvalidError."""
        ...

    def dumps(self, value: Any, *, is_odd: bool = False) -> bytes:
        """Write a message."""
        ...


class Json:
    """The default encoding."""

    name = "JSON"

    def loads(self, data: bytes) -> Decoded:
        """Read JSON, also what only Python's own module takes for it."""
        if _has_long_integer(data):
            return self._loads_odd(data)
        try:
            return Decoded(orjson.loads(data))
        except orjson.JSONDecodeError:
            return self._loads_odd(data)

    def loads_large(self, data: bytes, most: int) -> Decoded:
        """Read JSON slice by slice."""
        large_json.require_bounded(data, most)
        if not _has_long_integer(data):
            with suppress(ValueError):
                return Decoded(large_json.read_slices(data, orjson.loads))
        return Decoded(large_json.read_slowly(data), is_odd=True)

    def loads_fields(self, data: bytes) -> Decoded:
        """Leave the value of each field as its text."""
        try:
            return Decoded({name: orjson.Fragment(bytes(text)) for name, text in _FIELDS.decode(data).items()})
        except msgspec.DecodeError:
            return self.loads(data)

    def dumps(self, value: Any, *, is_odd: bool = False) -> bytes:
        """Write JSON."""
        if not is_odd:
            try:
                return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
            except TypeError:
                pass
        try:
            return json.dumps(value).encode()
        except TypeError as error:  # such as the bytes of a msgpack client
            raise InvalidError(f"a value cannot be carried as JSON: {error}") from None

    def _loads_odd(self, data: bytes) -> Decoded:
        try:
            return Decoded(json.loads(data), is_odd=True)
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"JSON decode error: {error}") from None


class Msgpack:
    """The other encoding of the reference."""

    name = "MSGPACK"

    def loads(self, data: bytes) -> Decoded:
        """Read msgpack."""
        try:
            return Decoded(msgpack.unpackb(data), is_odd=True)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise InvalidError(f"MSGPACK decode error: {error}") from None

    def loads_large(self, data: bytes, most: int) -> Decoded:
        """Read msgpack whose values are counted first."""
        require_bounded(data, most)
        return self.loads(data)

    def loads_fields(self, data: bytes) -> Decoded:
        """Read all of it."""
        return Json().loads(data)

    def dumps(self, value: Any, *, is_odd: bool = False) -> bytes:
        """Write msgpack."""
        try:
            return msgpack.packb(value) or b""
        except OverflowError:
            raise InvalidError(
                "the reply has an integer beyond 64 bits, which msgpack cannot carry: ask over NATS, or in JSON"
            ) from None


def _has_long_integer(data: bytes) -> bool:
    return _LONG_NUMBER in data.translate(_DIGITS) and bool(_LONG_INTEGER.search(data))


CODECS: dict[str, type[Codec]] = {"json": Json, "msgpack": Msgpack}
