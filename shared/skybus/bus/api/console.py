"""The endpoint that reads console history, and the shape of console output."""

from __future__ import annotations

from pydantic import Field

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message, Request

LATEST = 9.2e9
"""Unix seconds: JetStream counts nanoseconds in 64 bits."""
_LAST_SEQ = (1 << 63) - 1


class ConsoleGet(Request):
    """Read console output: from a time, from a sequence number, of an item, or the last lines."""

    since: float | None = Field(default=None, ge=0, le=LATEST, allow_inf_nan=False)
    """Unix seconds."""
    seq: int | None = Field(default=None, ge=1, le=_LAST_SEQ)
    """The first sequence number wanted; go on with the reply's `next_seq`."""
    item_uid: str | None = Field(default=None, min_length=1, max_length=128)
    """Only output written while this item was running."""
    last_lines: int | None = Field(default=None, ge=1, le=100_000)
    limit: int = Field(default=1000, ge=1, le=10_000)
    """So many chunks at the most."""


class ConsoleChunk(Message):
    """A piece of output as it was written; pieces joined in the order of `seq` are the output."""

    seq: int
    time: float
    """When it was written, unix seconds."""
    source: str
    """`worker` or the name of a service."""
    item_uid: str | None = None
    """The item that was running."""
    text: str


class ConsolePage(Message):
    """Chunks in order."""

    chunks: list[ConsoleChunk]
    next_seq: int
    """Where to go on."""
    complete: bool
    """Nothing newer was there."""


CONSOLE_GET = Endpoint("console.get", ConsoleGet, ConsolePage)
