"""The body of a streamed message as its sender wrote it, who may have had to compress it.

Plan code can send a body that becomes a thousand times as large, so each kind of message has a bound of its own.
"""

from __future__ import annotations

from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.errors import InvalidError
from skybus.bus.packing import unpack_at_most, unpack_start

LARGEST_CHUNK = 4 << 20
"""Bytes of a piece of console output; the environment sends pieces of 64 KiB."""
LARGEST_DOCUMENT = 64 << 20
"""Bytes of a Bluesky document, as JSON."""
LARGEST_CATALOGUE, LARGEST_PACKED_CATALOGUE = 64 << 20, 16 << 20
"""Bytes of the lists of plans and devices, as JSON and compressed; 13 000 devices have 7.3 MB and 0.1 MB."""


def is_packed(message: Msg) -> bool:
    """Whether the body is compressed."""
    return (message.headers or {}).get(headers.ENCODING) == "zlib"


def is_stub(message: Msg) -> bool:
    """Whether the body was too large for the bus, so that the message only names the file that has it."""
    return (message.headers or {}).get(headers.ENCODING) == "stub"


def body_of(message: Msg, most: int) -> bytes:
    """The body; a stub comes as it stands.

    Raises:
        InvalidError: it has more than `most` bytes, or cannot be unpacked.
    """
    return unpack_at_most(message.data, most) if is_packed(message) else message.data


def text_of(message: Msg, most: int = LARGEST_CHUNK) -> str:
    """The body as text; what is beyond `most` bytes is cut, and the last line says so."""
    if not is_packed(message):
        return message.data.decode("utf-8", "replace")
    try:
        start = unpack_start(message.data, most)
    except InvalidError:
        return message.data.decode("utf-8", "replace")
    text = start.body.decode("utf-8", "replace")
    return f"{text}\n[skybus: cut here, a piece of output has at most {most:,} bytes]\n" if start.has_more else text
