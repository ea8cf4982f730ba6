"""`skybus env`: open, close, destroy."""

from __future__ import annotations

from typing import Annotated

import typer

from skybus.bus.api.events import EnvironmentFacts
from skybus.cli.commands import add_command, group
from skybus.cli.output import Output, say_all
from skybus.client.client import Client

Wait = Annotated[bool, typer.Option(help="Wait until it is done.")]
Timeout = Annotated[float | None, typer.Option(help="Wait at most so many seconds.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = group("The environment: the process that holds devices, plans and the RunEngine.")
    for name, work in (("open", open_), ("close", close), ("destroy", destroy)):
        add_command(commands, work, name)
    app.add_typer(commands, name="env")


async def open_(client: Client, out: Output, wait: Wait = True, timeout: Timeout = None) -> None:  # noqa: ASYNC109
    """Start the environment and load the startup code."""
    facts = await client.open_environment(wait=wait, timeout=timeout)
    if facts is None:
        out.said("the environment is open" if wait else "the environment is being opened")
    else:
        said = f"the environment is open: {made_of(facts)}"
        lines = [said, *(f"warning: {warning}" for warning in facts.warnings)]
        out.show({"done": said, **facts.model_dump()}, lambda console: say_all(console, lines))


def made_of(facts: EnvironmentFacts) -> str:
    """What an environment is made of, in a line."""
    packages = [f"{name} {facts.versions[name]}" for name in ("bluesky", "ophyd") if name in facts.versions]
    commit = [f"startup code at commit {facts.startup_commit}"] if facts.startup_commit else []
    return ", ".join([f"Python {facts.python}", *packages, *commit])


async def close(client: Client, out: Output, wait: Wait = True, timeout: Timeout = None) -> None:  # noqa: ASYNC109
    """End the environment, which must be idle."""
    await client.close_environment(wait=wait, timeout=timeout)
    out.said("the environment is closed" if wait else "the environment is being closed")


async def destroy(client: Client, out: Output, wait: Wait = True, timeout: Timeout = None) -> None:  # noqa: ASYNC109
    """Kill the environment, whatever it does; its plan fails."""
    await client.destroy_environment(wait=wait, timeout=timeout)
    out.said("the environment is gone" if wait else "the environment is being killed")
