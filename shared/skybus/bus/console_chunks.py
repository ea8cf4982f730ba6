"""Console output out of the messages that carry it, stored or live."""

from __future__ import annotations

from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.api.console import LATEST, ConsoleChunk
from skybus.bus.bodies import text_of
from skybus.bus.tail import stored_at

PRINTED = "worker"
"""The source of what the environment prints; it is followed by the item."""


def chunk_of(message: Msg) -> ConsoleChunk:
    """Make a chunk of what was stored under `sky.{inst}.console.{source}[.{item}]`."""
    head: dict[str, str] = message.headers or {}
    subject = head.get("Nats-Subject", message.subject)
    source, _, item = subject.split(".", 3)[3].partition(".")
    return ConsoleChunk(
        seq=int(head["Nats-Sequence"]),
        time=_time(message),
        source=source,
        printed=source == PRINTED and bool(item),
        item_uid=head.get(headers.ITEM) or (item if item not in ("", "-") else None),
        text=text_of(message),
    )


def _time(message: Msg) -> float:
    """When it was written, or else stored: plan code may say anything."""
    try:
        written = float((message.headers or {})[headers.TIME])
    except (KeyError, ValueError):
        return stored_at(message)
    return written if 0 <= written <= LATEST else stored_at(message)
