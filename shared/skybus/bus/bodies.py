"""The body of a streamed message as its sender wrote it, who may have had to compress it."""

from __future__ import annotations

from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.errors import InvalidError
from skybus.bus.packing import unpack_at_most

LARGEST = 256 << 20
"""Bytes: plan code can send what would become a thousand times as much."""


def body_of(message: Msg) -> bytes:
    """The body; what cannot be unpacked comes as it stands, and so does a stub, which names the file with the body."""
    if (message.headers or {}).get(headers.ENCODING) != "zlib":
        return message.data
    try:
        return unpack_at_most(message.data, LARGEST)
    except InvalidError:
        return message.data


def is_stub(message: Msg) -> bool:
    """Whether the body was too large for the bus, so that the message only names the file that has it."""
    return (message.headers or {}).get(headers.ENCODING) == "stub"
