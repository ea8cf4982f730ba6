"""`skybus status`: how things are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from skybus.bus.api.engine import Suspended
from skybus.bus.api.health import Absence
from skybus.bus.api.status import Status
from skybus.cli.commands import add_command
from skybus.cli.output import Output, clock, say_all, short_uid
from skybus.client.client import Client

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, status, "status")


async def status(client: Client, out: Output) -> None:
    """Show what the manager, the environment and the queue do."""
    now = await client.status()
    out.show(now, lambda console: _print(console, now))


def facts(status: Status) -> list[tuple[str, str]]:
    """A status in words, one fact a line."""
    lines = [
        ("manager", status.manager_state.replace("_", " ") + (", pausing" if status.pause_pending else "")),
        ("environment", _environment(status)),
        ("queue", _queue(status)),
        ("history", _count(status.items_in_history)),
    ]
    if status.running_item_uid:
        lines.append(("running", short_uid(status.running_item_uid)))
    if status.suspended:
        lines.append(("suspended", suspended_text(status.suspended)))
    if status.queue_stopped:
        lines.append(("stopped", f"since {clock(status.queue_stopped.since)}: {status.queue_stopped.why}"))
    locked = [name for name in ("environment", "queue") if getattr(status.lock, name)]
    if locked:
        lines.append(("locked", " and ".join(locked)))
    lines += [missing(part, absence) for part, absence in status.unreachable.items()]
    return lines


def suspended_text(suspended: Suspended) -> str:
    """What holds the plan, and since when: `since 12:03:41 by SuspendFloor(ring_current): no beam`."""
    by = f" by {', '.join(suspended.by)}" if suspended.by else ""
    reason = f": {suspended.justification}" if suspended.justification else ""
    return f"since {clock(suspended.since)}{by}{reason}"


def missing(part: str, absence: Absence) -> tuple[str, str]:
    """What is missing, and since when."""
    return f"{part} missing", f"since {clock(absence.since)}: {absence.why}"


def _print(console: Console, status: Status) -> None:
    say_all(console, (f"{name:<12} {text}" for name, text in facts(status)))


def _environment(status: Status) -> str:
    if not status.worker_environment_exists:
        return status.worker_environment_state
    engine = f", RunEngine {status.re_state}" if status.re_state else ""
    tasks = f", {_count(status.worker_background_tasks, 'background task')}" if status.worker_background_tasks else ""
    return f"open, {status.worker_environment_state.replace('_', ' ')}{engine}{tasks}"


def _queue(status: Status) -> str:
    mode = status.plan_queue_mode
    notes = [
        note
        for note, is_so in (
            ("stops after the running plan", status.queue_stop_pending),
            ("autostart", status.queue_autostart_enabled),
            ("loop", mode.loop),
            ("ignores failures", mode.ignore_failures),
        )
        if is_so
    ]
    return ", ".join([_count(status.items_in_queue), *notes])


def _count(number: int, what: str = "item") -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
