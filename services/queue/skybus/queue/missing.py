"""The parts of the house that do not answer, and since when."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from skybus.bus.api.health import Absence

log = structlog.get_logger()


STORED_QUEUE = "stored queue"


class Missing:
    """What is missing now.

    Args:
        changed: called when it is something else.
        doubt: why the stored queue is not to be trusted, if so.
    """

    def __init__(self, changed: Callable[[], None], doubt: Callable[[], Absence | None]) -> None:
        self._changed = changed
        self._doubt = doubt
        self._parts: dict[str, Absence] = {}

    @property
    def parts(self) -> dict[str, Absence]:
        """By the name of the part."""
        doubt = self._doubt()
        return {**self._parts, **({STORED_QUEUE: doubt} if doubt else {})}

    def lost(self, part: str, why: str) -> None:
        """A part does not answer; the first reason is kept until it does."""
        if part not in self._parts:
            log.warning("a part of the house does not answer", part=part, reason=why)
            self._parts[part] = Absence(why=why, since=time.time())
            self._changed()

    def found(self, part: str) -> bool:
        """A part answers; returns whether it was missing before."""
        absence = self._parts.pop(part, None)
        if absence:
            log.info("a part of the house answers again", part=part, seconds=round(time.time() - absence.since, 1))
            self._changed()
        return absence is not None
