"""`skybus doctor`: what does not answer, and since when."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import typer

from skybus.bus.api.health import Absence, Health, health_of
from skybus.bus.errors import UnavailableError
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
    """Say what does not answer and since when; ends with 1 if something is missing."""
    healths = await asyncio.gather(*(_health(client, name) for name in _SERVICES))
    queue = healths[0] if isinstance(healths[0], Health) else None
    noticed = queue.missing if queue else {}
    findings = [_service(*pair, noticed) for pair in zip(_SERVICES, healths, strict=True)]
    findings += [finding for health in healths[1:] if isinstance(health, Health) for finding in lacks(health)]
    if queue:
        findings += [_seen(part, noticed) for part in sorted({"redis", *noticed} - {*_SERVICES})]
    findings += await _bridge(client)
    out.show([finding._asdict() for finding in findings], lambda console: _print(console, findings))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


async def _health(client: Client, service: str) -> Health | UnavailableError:
    try:
        return await client.call(health_of(service), Empty(), timeout=_PATIENCE)
    except UnavailableError as error:
        return error


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
    if address is None:
        return []
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection("127.0.0.1" if host == "*" else host, int(port))
    except (OSError, TimeoutError) as error:
        why = f"nobody listens on {address}: {error or 'no answer'}"
        return [Finding("bridge", is_well=False, since=None, what=why)]
    writer.close()
    return [Finding("bridge", is_well=True, since=None, what=f"listens on {address}")]


def _zmq_control(client: Client) -> str | None:
    with suppress(UnavailableError):
        listen: Listen = client.settings.listen()
        return listen.zmq_control if listen.zmq_control.startswith("tcp://") else None
    return None


def _print(console: Console, findings: list[Finding]) -> None:
    lines = (
        (
            finding.part,
            "well" if finding.is_well else "missing",
            clock(finding.since),
            _delay(finding.loop_delay),
            finding.what,
        )
        for finding in findings
    )
    console.print(rows(make_table("part", "", "since", "event loop", "what it does"), lines))


def _delay(seconds: float | None) -> str:
    """How late an event loop was."""
    return "" if seconds is None else f"{seconds * 1000:.0f} ms late"
