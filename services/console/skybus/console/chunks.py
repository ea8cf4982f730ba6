"""How lines are cut out of console output."""

from __future__ import annotations

from skybus.bus.api.console import ConsoleChunk


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
