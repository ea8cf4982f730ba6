"""The answers of the last minute, so that a request that is repeated soon need not be found in Redis."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import NamedTuple

from skybus.bus.messages import Message, encode
from skybus.bus.same_request import require_same
from skybus.queue.kept_answers import Asked

KEPT = 60.0
"""Seconds."""
LARGEST = 1 << 20
"""Bytes; a larger answer is not remembered."""
MOST_BYTES = 8 << 20
"""Of all answers together, as JSON."""


class _Given(NamedTuple):
    answer: Message
    digest: str
    """Of the request."""
    size: int
    at: float
    """By the monotonic clock."""


class Remembered:
    """Answers by the keys of their requests, the oldest first."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, _Given] = OrderedDict()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def get(self, asked: Asked) -> Message | None:
        """The answer to a request, if it was given lately.

        Raises:
            ConflictError: it was given to another request under this id.
        """
        given = self._given.get(asked.key)
        if given is None:
            return None
        require_same(asked.endpoint, asked.digest, given.digest)
        return given.answer

    def add(self, asked: Asked, answer: Message) -> None:
        """Remember an answer."""
        size = len(encode(answer))
        if size > LARGEST or asked.key in self._given:
            return
        self._given[asked.key] = _Given(answer, asked.digest, size, time.monotonic())
        self._bytes += size
        self._forget()

    def _forget(self) -> None:
        """Forget what is old or too much, and come back when the next is old."""
        old = time.monotonic() - KEPT
        while self._given and (self._bytes > MOST_BYTES or self._oldest.at <= old):
            self._bytes -= self._given.popitem(last=False)[1].size
        if self._given and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._oldest.at - old, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._forget()

    @property
    def _oldest(self) -> _Given:
        return next(iter(self._given.values()))
