"""The changes of the last minute, to be made once more on a Redis that has lost them.

A replica that becomes the primary may lack what another replica has confirmed: Sentinel chooses by offsets that are
some seconds old, and a primary that is back at once may go on taking changes while another one is being promoted. The
queue service that has made the changes is still there then, and each change is commands that can be repeated.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

KEPT = 60.0
"""Seconds that a change is kept."""
MOST_WORDS = 1_000_000
"""Of all commands that are kept; a batch of 100 000 items has half as many."""
MOST_BYTES = 64 << 20
"""The same in bytes, by default; one item may have megabytes."""


@dataclass(frozen=True)
class Change:
    """A change of the book."""

    revision: int
    """Of the book before it."""
    key: str
    """Of the request that it belongs to, if there is one."""
    answer: bytes
    size: str
    words: Sequence[str | bytes | float]
    made: float = field(default_factory=time.monotonic)
    weight: int = field(init=False)
    """Bytes of the answer and all words that are texts."""

    def __post_init__(self) -> None:
        texts = (len(word) for word in self.words if isinstance(word, str | bytes))
        object.__setattr__(self, "weight", len(self.answer) + sum(texts))


class RecentChanges:
    """Changes that are stored, the oldest first, each on the revision of the one before."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._changes: deque[Change] = deque()
        self._words = self._bytes = 0
        self._tried: Change | None = None

    def tried(self, change: Change) -> None:
        """Take note of a change that may be stored."""
        self._tried = change

    def stored(self, revision: int) -> None:
        """Take note of how far the book is: what was tried last is in it, or is not."""
        tried, self._tried = self._tried, None
        if tried and tried.revision + 1 == revision:
            self._changes.append(tried)
            self._words += len(tried.words)
            self._bytes += tried.weight
        self.forget_old()

    def forget_old(self) -> None:
        """Forget what was made long ago, and what is too much."""
        while self._changes and (self._is_full or self._changes[0].made < time.monotonic() - KEPT):
            oldest = self._changes.popleft()
            self._words -= len(oldest.words)
            self._bytes -= oldest.weight

    @property
    def used(self) -> int:
        """Bytes of all changes that are kept."""
        return self._bytes

    @property
    def _is_full(self) -> bool:
        return self._words > MOST_WORDS or self._bytes > self._most_bytes

    def since(self, revision: int, until: int) -> list[Change]:
        """The changes that lead from one revision to another; nothing if one of them is not kept."""
        changes = [change for change in self._changes if revision <= change.revision < until]
        return changes if [change.revision for change in changes] == list(range(revision, until)) else []
