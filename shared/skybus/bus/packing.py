"""Bodies that travel compressed: a receiver unpacks no more than the sender has announced, and that is bounded."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from skybus.bus.errors import InvalidError

MAX_REQUEST = 64 << 20
"""Bytes of a request, unpacked, unless `SKYBUS_MAX_REQUEST` says otherwise."""
PEOPLE_PAYLOAD = 1 << 20
"""Bytes of a message that the server takes from people: what is larger travels in parts, each of which is answered.

The server does not announce the limit of an account: it ends a connection that sends more.
"""


def pack(body: bytes) -> bytes:
    """Compress a body; call it in a thread when the body has megabytes."""
    return zlib.compress(body, 1)


def unpack(packed: bytes, size: int) -> bytes:
    """Unpack a body that was announced with `size` bytes; call it in a thread when it has megabytes.

    Raises:
        InvalidError: it has another size, or is not compressed.
    """
    body = unpack_at_most(packed, size)
    if len(body) != size:
        raise InvalidError(f"the compressed body has {len(body):,} bytes, {size:,} were announced")
    return body


def unpack_at_most(packed: bytes, most: int) -> bytes:
    """Unpack a body of which nobody knows the size.

    Raises:
        InvalidError: it has more than `most` bytes, or is not compressed.
    """
    start = unpack_start(packed, most)
    if start.has_more:
        raise InvalidError(f"the compressed body has more than {most:,} bytes")
    if not start.is_clean:
        raise InvalidError("the compressed body is cut off, or something stands behind it")
    return start.body


class Start(NamedTuple):
    """The first bytes of a compressed body."""

    body: bytes
    has_more: bool
    """Whether it has more bytes than were wanted; these were not unpacked."""
    is_clean: bool
    """Whether the compressed body ends where its data end."""


def unpack_start(packed: bytes, most: int) -> Start:
    """Unpack the first `most` bytes and no more: 255 kB may be what 250 MB were compressed to.

    Raises:
        InvalidError: it is not compressed.
    """
    unpacking = zlib.decompressobj()
    try:
        body = unpacking.decompress(packed, most + 1)
    except zlib.error as error:
        raise InvalidError(f"the compressed body cannot be unpacked: {error}") from None
    return Start(body[:most], len(body) > most, unpacking.eof and not unpacking.unused_data)


def too_large(what: str, size: int, limit: int) -> str:
    """Say that something has more bytes than are possible."""
    return f"{what} has {size:,} bytes, at most {limit:,} are possible (SKYBUS_MAX_REQUEST)"
