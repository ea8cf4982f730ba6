"""What holds the plan: suspenders, and user code that asks the RunEngine itself to suspend.

Everything happens in the loop of the RunEngine. A hold begins when the RunEngine starts to wait for it, after the
pre-plan of the suspender. It ends when the suspender lets go. A pause or another suspender interrupts the wait.
bluesky then forgets the hold, and would go on without beam. So each later wait is for everything that still holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from skybus.bus.api.engine import Suspended
from skybus.worker.environment.failures import clean
from skybus.worker.environment.run_engine_internals import Wait, signal_of

log = structlog.get_logger()

SHOWN = 20
"""Suspenders that are named."""
TEXT = 1000
"""Characters of a name or justification."""


@dataclass(eq=False)
class _Hold:
    by: str
    justification: str
    since: float
    wait: Wait


class Suspension:
    """What holds the plan of one RunEngine.

    Args:
        changed: called with what holds the plan, whenever that changes.
    """

    def __init__(self, changed: Callable[[Suspended | None], None]) -> None:
        self._changed = changed
        self._pending: dict[_Hold, asyncio.Future[Any]] = {}
        self._told: Suspended | None = None
        self.is_waiting = False
        """Whether the RunEngine waits now."""

    @property
    def is_pending(self) -> bool:
        """Whether something holds the plan, also while it is paused."""
        return bool(self._pending)

    def hold(self, suspender: Any, justification: str | None, wait: Wait) -> Wait:
        """Return what the RunEngine waits for instead of `wait`."""
        why = _text(lambda: _justification(suspender) if justification is None else justification)
        return partial(self._begin, _Hold(_text(lambda: _name(suspender)), why, time.time(), wait))

    def go_on(self) -> asyncio.Future[None]:
        """Wait for all that still holds the plan; called by the RunEngine."""
        self.is_waiting = self.is_pending
        self._tell()
        return asyncio.ensure_future(self._all_released())

    def interrupt(self) -> None:
        """Note that the RunEngine no longer waits, although suspenders may still hold the plan."""
        self.is_waiting = False
        self._tell()

    def end(self) -> None:
        """Forget all holds: the plan is over."""
        for released in self._pending.values():
            released.cancel()
        self._pending.clear()
        self.interrupt()

    def _begin(self, hold: _Hold) -> asyncio.Future[None]:
        if hold not in self._pending:
            self._pending[hold] = asyncio.ensure_future(hold.wait())
            self._pending[hold].add_done_callback(lambda _: self._release(hold))
        return self.go_on()

    def _release(self, hold: _Hold) -> None:
        self._pending.pop(hold, None)
        self.is_waiting = self.is_waiting and self.is_pending
        self._tell()

    async def _all_released(self) -> None:
        while self._pending:
            await asyncio.wait(self._pending.values())

    def _tell(self) -> None:
        suspended = _suspended(list(self._pending)) if self.is_waiting else None
        if suspended != self._told:
            self._told = suspended
            self._changed(suspended)


def _suspended(holds: list[_Hold]) -> Suspended:
    shown = holds[:SHOWN]
    return Suspended(
        by=[hold.by for hold in shown if hold.by],
        since=min(hold.since for hold in holds),
        justification="; ".join(dict.fromkeys(hold.justification for hold in shown if hold.justification)),
    )


def _name(suspender: Any) -> str:
    """Name a suspender by its class and signal: `SuspendFloor(ring_current)`."""
    if suspender is None:
        return ""
    signal = getattr(signal_of(suspender), "name", "")
    return f"{type(suspender).__name__}({signal})"


def _justification(suspender: Any) -> str:
    """Ask a suspender that has tripped before the plan began."""
    return "" if suspender is None else suspender.get_futures()[1]


def _text(ask: Callable[[], Any]) -> str:
    try:
        return clean(str(ask())[:TEXT])
    except Exception:  # suspenders and signals of a site must not end its plans by what they show
        log.exception("a suspender cannot be described")
        return ""
