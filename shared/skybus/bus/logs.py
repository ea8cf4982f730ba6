"""Structured logs: a constant event in words, facts as keys; lines go to one output and to the console stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import structlog
from structlog.typing import ExcInfo

from skybus.bus.tracebacks import format_error
from skybus.bus.visible_text import visible

KEPT_LINES = 10_000
"""Lines kept for the console stream while the bus is away; the file has them all."""
LONGEST_LINE = 100_000
"""Characters of a line that go into the console stream; the file has the whole line."""
LONGEST_VALUE = 4000
"""Characters of one text in a line."""
LARGEST_BATCH = 200_000
"""Characters that become one message: below what NATS carries by default, in any encoding."""


@dataclass(frozen=True)
class Batch:
    """Lines that become one message."""

    time: float
    """When the first was written, unix seconds."""
    text: str
    uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Sent again under the same uid, it is stored once."""


class Lines:
    """Where the lines of this process go."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, str]] = deque(maxlen=KEPT_LINES)
        self.output: TextIO | None = None
        """By default standard error."""
        self._listener: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._all_published = asyncio.Event()

    def msg(self, line: str) -> None:
        """Write a line; may be called from any thread."""
        with contextlib.suppress(OSError, ValueError):  # who read it may be gone
            output = self.output or sys.stderr
            output.write(line + "\n")
            output.flush()
        listener = self._listener
        if listener and not listener[0].is_closed():
            listener[0].call_soon_threadsafe(self._add, line, listener[1])

    debug = info = warning = error = critical = exception = msg

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Keep lines for the running loop; the event tells of new ones."""
        added = asyncio.Event()
        self._all_published = asyncio.Event()
        self.published()
        self._listener = (asyncio.get_running_loop(), added)
        try:
            yield added
        finally:
            self._listener = None

    def published(self) -> None:
        """Take note that the console stream has all lines that were taken."""
        if not self._waiting:
            self._all_published.set()

    async def until_published(self, seconds: float) -> None:
        """Wait until the console stream has every line written so far, or until the time is over."""
        await asyncio.sleep(0)  # the loop adds the last line in its next turn
        if self._listener:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_published.wait()

    def take(self) -> Batch | None:
        """Take the oldest lines that wait, as many as one message carries."""
        if not self._waiting:
            return None
        written, text = self._waiting.popleft()
        taken, size = [text], len(text)
        while self._waiting and size + len(self._waiting[0][1]) <= LARGEST_BATCH:
            taken.append(self._waiting.popleft()[1])
            size += len(taken[-1])
        return Batch(written, "".join(taken))

    def _add(self, line: str, added: asyncio.Event) -> None:
        if len(line) > LONGEST_LINE:
            line = f"{line[:LONGEST_LINE]} ... ({len(line)} characters; the file of this log has them all)"
        self._waiting.append((time.time(), line + "\n"))
        self._all_published.clear()
        added.set()


lines = Lines()
"""Those of this process."""


_INDENT = "    "
_ESCAPED_LATER = "\n\r\t"
"""A text with one of these is quoted by the renderer, which escapes it."""


def printable(text: str, longest: int = LONGEST_VALUE) -> str:
    """Escape what would move a cursor, change a colour or reverse the text, and cut what is long."""
    if len(text) > longest:
        text = f"{text[:longest]}... ({len(text)} characters)"
    return visible(text, keep=_ESCAPED_LATER)


def _with_printable_values(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make every text of a line printable, whoever has written it: users name plans, locks and themselves."""
    shown = {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}
    return {**shown, "event": visible(str(event.get("event", "")))}  # which the renderer does not quote


def _write_traceback(text: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback below its line, indented: what an error says cannot be taken for another line of the log."""
    _, error, tb = exc_info
    lines = format_error(error, tb).rstrip("\n").split("\n")
    text.write("".join(f"\n{_INDENT}{visible(line)}" for line in lines))


def start_logging(service: str, level: str = "info") -> None:
    """Set up structlog for this process; every line names the service."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            _with_printable_values,
            structlog.processors.StackInfoRenderer(),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_write_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # what it reports reaches us by callback and by exception
