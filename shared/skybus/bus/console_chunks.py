"""Console output out of the messages that carry it, stored or live."""

from __future__ import annotations

from datetime import datetime

from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.api.console import LATEST, ConsoleChunk
from skybus.bus.bodies import body_of


def chunk_of(message: Msg) -> ConsoleChunk:
    """Make a chunk of what was stored under `sky.{inst}.console.{source}[.{item}]`."""
    head: dict[str, str] = message.headers or {}
    subject = head.get("Nats-Subject", message.subject)
    source, _, item = subject.split(".", 3)[3].partition(".")
    return ConsoleChunk(
        seq=int(head["Nats-Sequence"]),
        time=_time(head),
        source=source,
        item_uid=head.get(headers.ITEM) or (item if item not in ("", "-") else None),
        text=body_of(message).decode("utf-8", "replace"),
    )


def _time(head: dict[str, str]) -> float:
    """When it was written, or else stored: plan code may say anything."""
    try:
        written = float(head[headers.TIME])
    except (KeyError, ValueError):
        return _stored_time(head)
    return written if 0 <= written <= LATEST else _stored_time(head)


def _stored_time(head: dict[str, str]) -> float:
    try:
        return datetime.fromisoformat(head.get("Nats-Time-Stamp", "")).timestamp()
    except ValueError:
        return 0.0
