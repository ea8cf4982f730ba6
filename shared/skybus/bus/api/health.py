"""How a service is: an endpoint that each has under its name, and what it says."""

from __future__ import annotations

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message


class Absence(Message):
    """A part of the house does not answer."""

    why: str
    since: float
    """When it was noticed, unix seconds."""


class Lead(Message):
    """Of several processes of a service one leads: the one that answers."""

    name: str
    standby: str = ""
    """The name of the one that waits to take over, if there is one."""


class Health(Message):
    """A service lives, since it answers; it is ready if nothing is missing that it needs."""

    service: str
    since: float
    """Of its start, unix seconds."""
    missing: dict[str, Absence] = {}
    """By the name of the part."""
    lead: Lead | None = None
    """Of a service that others of its kind may wait for."""
    now: float | None = None
    """When it was written, unix seconds."""
    server_ahead: float | None = None
    """Seconds that the clock of the NATS server is ahead of that of the service, if the server says what time it is."""
    tasks: int = 0
    """That are open in its event loop; a number that grows for hours means that some never end."""
    loop_delay: float = 0.0
    """Seconds by which its event loop was late at the most, within the last minute."""


def health_of(service: str) -> Endpoint[Empty, Health]:
    """The endpoint of a service."""
    return Endpoint(f"health.{service}", Empty, Health)
