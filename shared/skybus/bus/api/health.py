"""How a service is: an endpoint that each has under its name, and what it says."""

from __future__ import annotations

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message


class Absence(Message):
    """A part of the house does not answer."""

    why: str
    since: float
    """When it was noticed, unix seconds."""


class Health(Message):
    """A service lives, since it answers; it is ready if nothing is missing that it needs."""

    service: str
    since: float
    """Of its start, unix seconds."""
    missing: dict[str, Absence] = {}
    """By the name of the part."""

    @property
    def is_ready(self) -> bool:
        """Whether it can do all that it is there for."""
        return not self.missing


def health_of(service: str) -> Endpoint[Empty, Health]:
    """The endpoint of a service."""
    return Endpoint(f"health.{service}", Empty, Health)
