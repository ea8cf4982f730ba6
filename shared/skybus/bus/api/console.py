"""The endpoint that reads console history, and the shape of console output."""

from __future__ import annotations

from pydantic import Field

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message, Request

LATEST = 9.2e9
"""Unix seconds: JetStream counts nanoseconds in 64 bits."""
_LAST_SEQ = (1 << 63) - 1


PAGE_BYTES, MOST_BYTES = 2 << 20, 32 << 20
"""Bytes of text in a reply: by default, and at the most."""


class ConsoleGet(Request):
    """Read console output: from a time, from a sequence number, of an item, of a service, or the last lines.

    Without a filter it is everything: what the environment prints and what the services log.
    """

    since: float | None = Field(default=None, ge=0, le=LATEST, allow_inf_nan=False)
    """Unix seconds."""
    seq: int | None = Field(default=None, ge=1, le=_LAST_SEQ)
    """The first sequence number wanted; go on with the reply's `next_seq`."""
    item_uid: str | None = Field(default=None, min_length=1, max_length=128)
    """Only output written while this item was running."""
    printed: bool = False
    """Only what the environment prints: plans, tasks and startup code."""
    service: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Only what this service logs; `worker` is the one that starts the environment."""
    last_lines: int | None = Field(default=None, ge=1, le=100_000)
    limit: int = Field(default=1000, ge=1, le=10_000)
    """So many chunks at the most."""
    max_bytes: int | None = Field(default=None, ge=1, le=MOST_BYTES)
    """So much text at the most, in UTF-8: by default 2 MiB, and 32 MiB of last lines. One chunk is always there; of
    last lines those that do not fit are left out, and of a single one that is too long its beginning."""


class ConsoleChunk(Message):
    """A piece of output as it was written; pieces joined in the order of `seq` are the output."""

    seq: int
    time: float
    """When it was written, unix seconds."""
    source: str
    """`worker` or the name of a service."""
    printed: bool = False
    """Whether the environment has printed it; what the worker service logs has the same source."""
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
