"""`skybus doctor`: what does not answer, and since when."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import typer

from skybus.bus.api.health import Absence, Health, health_of
from skybus.bus.api.stores import STORES_GET, StoreUse
from skybus.bus.errors import NotFoundError, UnavailableError
from skybus.bus.messages import Empty
from skybus.bus.settings import Listen
from skybus.cli.commands import add_command
from skybus.cli.output import Output, clock, make_table, rows
from skybus.client.client import Client

if TYPE_CHECKING:
    from rich.console import Console

_SERVICES = ("queue", "auth", "console", "worker")
"""Those that say themselves how they are; of the others the queue service knows."""
_PATIENCE = 2.0
_AGREE = 1.0
"""Seconds by which clocks may differ."""
_OFF = {"clocks": "off", "room": "full"}
"""The state of a part that is not well; all others are `missing`."""


class Finding(NamedTuple):
    """What is known of a part of the house."""

    part: str
    is_well: bool
    since: float | None
    what: str
    loop_delay: float | None = None
    """Seconds by which the event loop of a service was late at the most, within the last minute."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, doctor, "doctor")


async def doctor(client: Client, out: Output) -> None:
    """Say what does not answer and since when, and whether clocks agree; ends with 1 if something is missing or off."""
    asked = await asyncio.gather(*(_health(client, name) for name in _SERVICES))
    healths = [health for health, _ in asked]
    queue = healths[0] if isinstance(healths[0], Health) else None
    noticed = queue.missing if queue else {}
    findings = [_service(*pair, noticed) for pair in zip(_SERVICES, healths, strict=True)]
    findings += [finding for health in healths[1:] if isinstance(health, Health) for finding in lacks(health)]
    if queue:
        findings += [_seen(part, noticed) for part in sorted({"redis", *noticed} - {*_SERVICES})]
    findings += await _bridge(client)
    if queue:
        findings += await _stores(client)
    findings += clocks([(health, ahead) for health, ahead in asked if isinstance(health, Health)])
    out.show([finding._asdict() for finding in findings], lambda console: _print(console, findings))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


async def _health(client: Client, service: str) -> tuple[Health | UnavailableError, float]:
    """How a service is, and how many seconds its clock is ahead of ours."""
    sent = time.time()
    try:
        health = await client.call(health_of(service), Empty(), timeout=_PATIENCE)
    except UnavailableError as error:
        return error, 0.0
    return health, 0.0 if health.now is None else _ahead(health.now, sent, time.time())


def _ahead(theirs: float, sent: float, come: float) -> float:
    """How many seconds a clock is ahead of ours at least, or behind; it was read between two moments."""
    return theirs - min(max(theirs, sent), come)


def clocks(services: list[tuple[Health, float]]) -> list[Finding]:
    """Whether the clocks of the services and of the NATS server agree with ours.

    Args:
        services: each with the seconds that its clock is ahead.
    """
    ahead = {health.service: seconds for health, seconds in services if health.now is not None}
    for health, seconds in services:
        if health.server_ahead is not None:
            ahead.setdefault("NATS", seconds + health.server_ahead)
    off = {name: seconds for name, seconds in ahead.items() if abs(seconds) > _AGREE}
    if not ahead:
        return []
    if not off:
        return [Finding("clocks", is_well=True, since=None, what=f"{', '.join(ahead)} and this machine agree")]
    differences = ", ".join(_difference(*pair) for pair in off.items())
    what = f"compared with this machine, {differences}: set the clocks, as NTP does"
    return [Finding("clocks", is_well=False, since=None, what=what)]


def _difference(name: str, ahead: float) -> str:
    return f"{name} is {abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'}"


def _service(name: str, health: Health | UnavailableError, noticed: dict[str, Absence]) -> Finding:
    if isinstance(health, UnavailableError):
        since = noticed[name].since if name in noticed else None
        return Finding(name, is_well=False, since=since, what=health.message)
    return Finding(name, True, health.since, _answers(health), health.loop_delay)


def lacks(health: Health) -> list[Finding]:
    """What a service says that it lacks."""
    return [
        Finding(part, is_well=False, since=absence.since, what=absence.why) for part, absence in health.missing.items()
    ]


def _answers(health: Health) -> str:
    if health.lead and health.lead.standby:
        return f"answers: {health.lead.name} leads, {health.lead.standby} waits"
    return "answers"


def _seen(part: str, noticed: dict[str, Absence]) -> Finding:
    """What the queue service says of a part that it needs."""
    if part in noticed:
        return Finding(part, is_well=False, since=noticed[part].since, what=noticed[part].why)
    return Finding(part, is_well=True, since=None, what="answers the queue service")


async def _bridge(client: Client) -> list[Finding]:
    """Whether somebody listens for 0MQ clients, on this machine."""
    address = _zmq_control(client)
    if not address:
        return []
    try:
        async with asyncio.timeout(_PATIENCE):
            writer = await _connected(address)
    except (OSError, TimeoutError) as error:
        why = f"nobody listens on {address}: {error or 'no answer'}"
        return [Finding("bridge", is_well=False, since=None, what=why)]
    writer.close()
    return [Finding("bridge", is_well=True, since=None, what=f"listens on {address}")]


async def _stores(client: Client) -> list[Finding]:
    """How much of the room for what is kept is used, as far as the queue service can read it."""
    with suppress(UnavailableError, NotFoundError):
        return [_room(use) for use in (await client.call(STORES_GET, Empty(), timeout=_PATIENCE)).stores]
    return []


def _room(use: StoreUse) -> Finding:
    used = f"{size(use.used)} used"
    what = f"{used} of {size(use.limit)}" if use.limit else used
    way_out = f": clear the history, or raise {use.setting or 'its limit'}" if use.is_nearly_full else ""
    return Finding(f"room: {use.name}", is_well=not use.is_nearly_full, since=None, what=what + way_out)


def size(number: int) -> str:
    """A number of bytes for people: `1.5 GB`."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number} B"


async def _connected(address: str) -> asyncio.StreamWriter:
    scheme, _, place = address.partition("://")
    if scheme == "ipc":
        path = f"\0{place[1:]}" if place.startswith("@") else place  # an abstract one
        return (await asyncio.open_unix_connection(path))[1]
    host, _, port = place.rpartition(":")
    return (await asyncio.open_connection("127.0.0.1" if host == "*" else host, int(port)))[1]


def _zmq_control(client: Client) -> str:
    with suppress(UnavailableError):
        listen: Listen = client.settings.listen()
        return listen.zmq_control
    return ""


def _print(console: Console, findings: list[Finding]) -> None:
    lines = (
        (finding.part, _state(finding), clock(finding.since), _delay(finding.loop_delay), finding.what)
        for finding in findings
    )
    console.print(rows(make_table("part", "", "since", "event loop", "what it does"), lines))


def _state(finding: Finding) -> str:
    return "well" if finding.is_well else _OFF.get(finding.part.partition(":")[0], "missing")


def _delay(seconds: float | None) -> str:
    """How late an event loop was."""
    return "" if seconds is None else f"{seconds * 1000:.0f} ms late"
