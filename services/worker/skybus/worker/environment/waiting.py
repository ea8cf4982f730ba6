"""What the running plan waits for: status objects that say how far they are (`bluesky.protocols.HasWatch`, ophyd)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import structlog

from skybus.bus.api.progress import MoveProgress
from skybus.worker.environment.user_objects import LONGEST_TEXT, shorten

log = structlog.get_logger()


class Waiting:
    """Follows one wait after the other.

    Args:
        changed: called in any thread when something has moved.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._moves: dict[int, MoveProgress] = {}
        """Of the present wait; what is left of a former one goes into a dictionary of its own."""

    @property
    def moves(self) -> list[MoveProgress]:
        """How far each is that has said something."""
        return list(self._moves.values())

    def begin(self, statuses: Collection[Any] | None) -> None:
        """Follow these, or nothing more; called by the RunEngine in its own thread."""
        self._moves = moves = {}
        for number, status in enumerate(statuses or ()):
            try:
                watch = getattr(status, "watch", None)
                if watch is not None:
                    watch(partial(self._take, moves, number))
            except Exception:  # devices of a site must not end its plans by what they show
                log.exception("a status object cannot be watched", status=type(status).__name__)
        self._changed()

    def _take(
        self,
        moves: dict[int, MoveProgress],
        number: int,
        *,
        name: Any = None,
        current: Any = None,
        initial: Any = None,
        target: Any = None,
        unit: Any = None,
        **_rest: Any,
    ) -> None:
        """Take what a status object tells; ophyd's `fraction` is what is left, others' is what is done."""
        if number in moves and current is None:  # ophyd's last word of a move has nothing but a name
            return
        try:
            moves[number] = move_progress(name, current, initial, target, unit)
        except Exception:  # likewise
            log.exception("how far a move is cannot be read", number=number)
        else:
            self._changed()


def move_progress(name: Any, current: Any, initial: Any, target: Any, unit: Any) -> MoveProgress:
    """Make a message of what user code may have given in any form."""
    now, begin, end = _number(current), _number(initial), _number(target)
    fraction = None
    if now is not None and begin is not None and end is not None and begin != end:
        fraction = min(max((now - begin) / (end - begin), 0.0), 1.0)
    return MoveProgress(name=_text(name), current=now, initial=begin, target=end, unit=_text(unit), fraction=fraction)


def _text(value: Any) -> str:
    return "" if value is None else shorten(str(value), LONGEST_TEXT)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None  # JSON has neither NaN nor infinity
