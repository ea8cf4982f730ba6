"""How chunks are made of stored messages, no more than are wanted, and lines are cut out of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, takewhile

from nats.aio.msg import Msg

from skybus.bus.api.console import ConsoleChunk
from skybus.bus.console_chunks import chunk_of

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def first_chunks(messages: Iterable[Msg], most: int) -> list[ConsoleChunk]:
    """Make chunks of the first messages until they have so many bytes together; one at least."""
    chunks: list[ConsoleChunk] = []
    size = 0
    for message in messages:
        chunk = chunk_of(message)
        size += _size(chunk.text)
        if chunks and size > most:
            break
        chunks.append(chunk)
    return chunks


def chunks_before(later: list[ConsoleChunk], messages: Sequence[Msg], lines: int, most: int) -> list[ConsoleChunk]:
    """Put chunks in front of later ones, from the last message on, until there are enough lines or bytes."""
    found: list[ConsoleChunk] = []
    breaks, size = count_breaks(later), size_of(later)
    for message in reversed(messages):
        if breaks > lines or size >= most:
            break
        chunk = chunk_of(message)
        found.append(chunk)
        breaks += chunk.text.count("\n")
        size += _size(chunk.text)
    return [*reversed(found), *later]


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


def size_of(chunks: Iterable[ConsoleChunk]) -> int:
    """The bytes of their text in UTF-8."""
    return sum(_size(chunk.text) for chunk in chunks)


def last_bytes(chunks: list[ConsoleChunk], most: int) -> list[ConsoleChunk]:
    """The last lines that have so many bytes together; of a single line that has more, its end."""
    if size_of(chunks) <= most:
        return chunks
    text = "".join(chunk.text for chunk in chunks)
    sizes = accumulate(_size(line) for line in reversed(_LINE.findall(text)))
    number = sum(1 for _ in takewhile(lambda size: size <= most, sizes))
    if number:
        return last_lines(chunks, number)
    end = text.encode(errors="replace")[-most:].decode(errors="ignore")
    return [chunks[-1].model_copy(update={"text": end})]


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
