"""How much room kept answers take in Redis: each for as long as a request may be repeated, together up to a limit."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from skybus.queue.records import Command

log = structlog.get_logger()

MOST_BYTES = 64 << 20
"""Of all answers, by default."""
_BESIDE = 200
"""Bytes that Redis needs for an answer besides its key and its text, about."""


class _Kept(NamedTuple):
    key: str
    size: int
    until: float
    """By the monotonic clock."""


@dataclass
class AnswerRoom:
    """The answers that this service has stored, the oldest first. Those of a service before expire by themselves."""

    seconds: int = 900
    """For which each is kept."""
    most_bytes: int = MOST_BYTES
    used: int = 0
    """Bytes of all that are kept, about."""
    _kept: deque[_Kept] = field(default_factory=deque)
    _has_complained: bool = False

    def stored(self, key: str, size: int) -> None:
        """Take note of an answer."""
        kept = _Kept(key, len(key) + size + _BESIDE, time.monotonic() + self.seconds)
        self._kept.append(kept)
        self.used += kept.size

    def superseded(self) -> list[str]:
        """The keys of answers that are to make room; those that have expired take none."""
        keys, now = [], time.monotonic()
        while self._kept and (self.used > self.most_bytes or self._kept[0].until <= now):
            oldest = self._kept.popleft()
            self.used -= oldest.size
            if oldest.until > now:
                keys.append(oldest.key)
        if keys and not self._has_complained:
            self._has_complained = True
            log.warning(
                "answers are kept for a shorter time than requests may be repeated (SKYBUS_ANSWERS_MAX_BYTES)",
                seconds=self.seconds,
                most_bytes=self.most_bytes,
            )
        return keys


def forgotten(key: str) -> Command:
    """Forgets the answer to a request: what it has begun is taken back, or newer answers need the room."""
    return ("DEL", f"answer:{key}")
