"""Console output as the stream stores it, and how lines are cut out of it."""

from __future__ import annotations

from datetime import datetime

from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.api.console import ConsoleChunk


def chunk_of(message: Msg) -> ConsoleChunk:
    """Make a chunk of a stored message, `sky.{inst}.console.{source}[.{item}]`."""
    head: dict[str, str] = message.headers or {}
    subject = head.get("Nats-Subject", message.subject)
    source, _, item = subject.split(".", 3)[3].partition(".")
    return ConsoleChunk(
        seq=int(head["Nats-Sequence"]),
        time=_time(head),
        source=source,
        item_uid=head.get(headers.ITEM) or (item if item not in ("", "-") else None),
        text=message.data.decode("utf-8", "replace"),
    )


def count_breaks(chunks: list[ConsoleChunk]) -> int:
    """The number of newlines."""
    return sum(chunk.text.count("\n") for chunk in chunks)


def last_lines(chunks: list[ConsoleChunk], number: int) -> list[ConsoleChunk]:
    """Cut chunks down to the last lines of their text; what follows the last newline counts as a line."""
    text_ends_in_break = bool(chunks) and chunks[-1].text.endswith("\n")
    breaks = number + text_ends_in_break
    kept: list[ConsoleChunk] = []
    for chunk in reversed(chunks):
        here = chunk.text.count("\n")
        if here >= breaks:
            text = "\n".join(chunk.text.rsplit("\n", breaks)[1:])
            return [chunk.model_copy(update={"text": text}), *reversed(kept)] if text else kept[::-1]
        breaks -= here
        kept.append(chunk)
    return kept[::-1]


def _time(head: dict[str, str]) -> float:
    try:
        return float(head[headers.TIME])
    except (KeyError, ValueError):
        return _stored_time(head.get("Nats-Time-Stamp", ""))


def _stored_time(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
