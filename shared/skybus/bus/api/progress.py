"""How far a running plan is: an event a few times a second, on `evt.progress.{item_uid}`; the last one is kept."""

from __future__ import annotations

from skybus.bus.api.engine import Suspended
from skybus.bus.identity import user_token
from skybus.bus.messages import Message


class MoveProgress(Message):
    """How far something is that the plan waits for, such as a motor; what it does not say is missing."""

    name: str
    current: float | None = None
    initial: float | None = None
    target: float | None = None
    unit: str = ""
    fraction: float | None = None
    """From 0 to 1."""


class PlanProgress(Message):
    """Points of the present run of a plan, and what it waits for."""

    item_uid: str
    run_uid: str = ""
    """Empty as long as the plan has opened no run."""
    done: int = 0
    """Events of the stream `primary` so far."""
    planned: int | None = None
    """As the start document says; unknown for a plan that does not say."""
    fraction: float | None = None
    """From 0 to 1."""
    moves: list[MoveProgress] = []
    suspended: Suspended | None = None
    """What holds the plan."""


KEPT_PROGRESS = "progress"
"""Where the last progress of whatever ran last is kept for late joiners."""


def progress_topic(item_uid: str) -> str:
    """The event topic of an item's progress."""
    return f"progress.{user_token(item_uid)}"
