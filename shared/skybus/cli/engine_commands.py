"""`skybus re`: the running plan."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from skybus.cli.commands import add_act, add_command, group
from skybus.cli.output import Output, make_table, rows
from skybus.client.client import Client


class RunChoice(StrEnum):
    """Which runs."""

    ACTIVE = "active"
    OPEN = "open"
    CLOSED = "closed"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = group("The running plan: pause it, go on with it or end it.")
    add_command(commands, pause, "pause")
    add_act(commands, Client.resume, "resume", "the plan goes on")
    add_act(commands, Client.stop_plan, "stop", "the plan is being stopped")
    add_command(commands, abort, "abort")
    add_act(commands, Client.halt, "halt", "the plan is being halted")
    add_command(commands, runs, "runs")
    app.add_typer(commands, name="re")


async def pause(
    client: Client,
    out: Output,
    now: Annotated[bool, typer.Option("--now", help="At once, not at the next checkpoint.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is paused.")] = False,
) -> None:
    """Pause the running plan at its next checkpoint, or now."""
    await client.pause("immediate" if now else "deferred")
    if not wait:
        out.said("the plan will pause")
        return
    status = await client.wait(lambda status: status.manager_state in ("paused", "idle"))
    out.said("the plan is paused" if status.manager_state == "paused" else "the plan was over before it paused")


async def abort(
    client: Client,
    out: Output,
    now: Annotated[
        bool, typer.Option("--now", help="Also one that runs: pause it, abort it, or kill the environment.")
    ] = False,
) -> None:
    """End the paused or suspended plan; it counts as a failure."""
    steps = await client.abort(now=now)
    said = f"the plan is over, by {', '.join(steps).replace('_', ' ')}" if now else "the plan is being aborted"
    out.said(said, steps=steps)


async def runs(
    client: Client,
    out: Output,
    option: Annotated[RunChoice, typer.Argument(help="Which of them.")] = RunChoice.ACTIVE,
) -> None:
    """List the runs of the running plan."""
    found = await client.runs(option.value)
    table = make_table("scan", "state", "uid") if not out.as_json else None
    out.show(
        found,
        lambda console: console.print(
            rows(table, ((run.scan_id, "open" if run.is_open else run.exit_status, run.uid) for run in found))
            if found and table
            else "no runs"
        ),
    )
