"""How far a running plan is: an event a few times a second, on `evt.progress.{item_uid}`."""

from __future__ import annotations

from skybus.bus.identity import user_token
from skybus.bus.messages import Message


class PlanProgress(Message):
    """Points of the present run of a plan."""

    item_uid: str
    run_uid: str
    done: int
    """Events of the stream `primary` so far."""
    planned: int | None = None
    """As the start document says; unknown for a plan that does not say."""
    fraction: float | None = None
    """From 0 to 1."""


def progress_topic(item_uid: str) -> str:
    """The event topic of an item's progress."""
    return f"progress.{user_token(item_uid)}"
