"""Structured logs: a constant event in words, facts as keys; lines go to one output and to the console stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import TextIO

import structlog

KEPT_LINES = 10_000
"""Lines kept for the console stream while the bus is away; the file has them all."""


class Lines:
    """Where the lines of this process go."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[float, str]] = deque(maxlen=KEPT_LINES)
        self.output: TextIO | None = None
        """By default standard error."""
        self._listener: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

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
        self._listener = (asyncio.get_running_loop(), added)
        try:
            yield added
        finally:
            self._listener = None

    def _add(self, line: str, added: asyncio.Event) -> None:
        self.waiting.append((time.time(), line + "\n"))
        added.set()


lines = Lines()
"""Those of this process."""


def start_logging(service: str, level: str = "info") -> None:
    """Set up structlog for this process; every line names the service."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            structlog.processors.StackInfoRenderer(),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # what it reports reaches us by callback and by exception
