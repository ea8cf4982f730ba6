"""Reading one stored message by direct get (NATS ADR-31), which people may do without any right to a consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from nats.aio.msg import Msg

from skybus.bus.errors import UnavailableError
from skybus.bus.provenance import SUBJECT, description_of, status_of, stored_seq

if TYPE_CHECKING:
    from skybus.bus.connection import Bus

_NOT_FOUND = "404"


async def stored_message(bus: Bus, stream: str, query: dict[str, Any]) -> Msg | None:
    """Read the message that a query finds; nothing if there is none.

    Raises:
        UnavailableError: the stream cannot be read now.
    """
    return await _ask(bus, stream, f"$JS.API.DIRECT.GET.{stream}", orjson.dumps(query))


async def last_under(bus: Bus, stream: str, subject: str) -> Msg | None:
    """Read the last message under a subject; nothing if there is none. Raises as `stored_message`."""
    message = await _ask(bus, stream, f"$JS.API.DIRECT.GET.{stream}.{subject}", b"")
    return message if message and (message.headers or {}).get(SUBJECT) == subject else None


async def _ask(bus: Bus, stream: str, subject: str, query: bytes) -> Msg | None:
    def is_answer(message: Msg) -> bool:
        return stored_seq(message, stream) is not None or status_of(message) is not None

    message = await bus.request_raw(subject, query, accepts=is_answer)
    status = status_of(message)
    if status not in (None, _NOT_FOUND):
        raise UnavailableError(f"the stream {stream} refuses to be read: {status} {description_of(message)}")
    return None if status else message
