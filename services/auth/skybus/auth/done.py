"""Which requests were carried out, kept a day: one that is sent again is not carried out a second time."""

from __future__ import annotations

import time
from collections.abc import Mapping

KEPT = 86_400.0
"""Seconds."""

Done = Mapping[str, float]
"""When each was carried out, unix seconds, by its key."""


def with_done(done: Done, key: str) -> dict[str, float]:
    """Those that are still kept, and one more; without a key, no more."""
    now = time.time()
    kept = {other: when for other, when in done.items() if now - when < KEPT}
    return {**kept, key: now} if key else kept
