"""`skybus doctor`: what does not answer, and since when."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import typer

from skybus.bus.api.health import Health, health_of
from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Empty
from skybus.bus.settings import Listen
from skybus.cli.commands import add_command
from skybus.cli.output import Output, clock, make_table, rows
from skybus.client.client import Client

if TYPE_CHECKING:
    from rich.console import Console

_SERVICES = ("queue", "auth", "console")
"""Those that say themselves how they are; of the others the queue service knows."""
_PATIENCE = 2.0


class Finding(NamedTuple):
    """What is known of a part of the house."""

    part: str
    is_well: bool
    since: float | None
    what: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, doctor, "doctor")


async def doctor(client: Client, out: Output) -> None:
    """Say what does not answer and since when; ends with 1 if something is missing."""
    healths = dict(zip(_SERVICES, await asyncio.gather(*(_health(client, name) for name in _SERVICES)), strict=True))
    findings = [_service(name, health) for name, health in healths.items()]
    queue = healths["queue"]
    if isinstance(queue, Health):
        findings += _seen_by(queue, known={finding.part for finding in findings if not finding.is_well})
    findings += await _bridge(client)
    out.show([finding._asdict() for finding in findings], lambda console: _print(console, findings))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


async def _health(client: Client, service: str) -> Health | UnavailableError:
    try:
        return await client.call(health_of(service), Empty(), timeout=_PATIENCE)
    except UnavailableError as error:
        return error


def _service(name: str, health: Health | UnavailableError) -> Finding:
    if isinstance(health, UnavailableError):
        return Finding(name, is_well=False, since=None, what=health.message)
    return Finding(name, is_well=True, since=health.since, what="answers")


def _seen_by(queue: Health, known: set[str]) -> list[Finding]:
    """What the queue service says of the parts that it needs."""
    missing = [
        Finding(part, is_well=False, since=absence.since, what=absence.why)
        for part, absence in queue.missing.items()
        if part not in known
    ]
    well = [
        Finding(part, is_well=True, since=None, what="answers the queue service")
        for part in ("redis", "worker")
        if part not in queue.missing
    ]
    return [*missing, *well]


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
        (finding.part, "well" if finding.is_well else "missing", clock(finding.since), finding.what)
        for finding in findings
    )
    console.print(rows(make_table("part", "", "since", "what it does"), lines))
