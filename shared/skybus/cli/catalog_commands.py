"""`skybus plans` and `skybus devices`: what there is to use."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from skybus.bus.errors import NotFoundError
from skybus.cli.commands import add_command
from skybus.cli.output import Output, make_table, print_json, rows, shorten
from skybus.client.client import Client

Name = Annotated[str | None, typer.Argument(help="Show all that is known of this one.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, plans, "plans")
    add_command(app, devices, "devices")


async def plans(
    client: Client,
    out: Output,
    name: Name = None,
    schema: Annotated[bool, typer.Option("--schema", help="Show what it takes as JSON Schema.")] = False,
    skipped: Annotated[bool, typer.Option("--skipped", help="Say what looks like a plan and is not listed.")] = False,
) -> None:
    """List the plans that you may run."""
    if schema and name is None:
        raise typer.BadParameter("--schema needs the name of a plan")
    if skipped:
        _show_skipped(out, await client.skipped_plans(), name)
        return
    if schema and name:
        described = await client.plan_schema(name)
        out.show(described, lambda console: print_json(console, described))
        return
    found = await client.plans()
    _show(out, found, name, ("plan", "parameters", "what it does"), _plan_row)


async def devices(client: Client, out: Output, name: Name = None) -> None:
    """List the devices that you may use."""
    found = await client.devices()
    _show(out, found, name, ("device", "class", ""), _device_row)


def _show(out: Output, found: dict[str, Any], name: str | None, columns: tuple[str, ...], row: Any) -> None:
    if name is not None and name not in found:
        raise NotFoundError(f"there is no {columns[0]} {name!r} that you may use: `skybus {columns[0]}s` lists them")
    if name is not None:
        one = found[name]
        out.show(one, lambda console: print_json(console, one))
        return
    lines = [row(key, found[key]) for key in sorted(found)]
    out.show(found, lambda console: console.print(rows(make_table(*columns), lines) if lines else f"no {columns[0]}s"))


def _show_skipped(out: Output, skipped: dict[str, str], name: str | None) -> None:
    found = {key: reason for key, reason in skipped.items() if name in (None, key)}
    lines = sorted(found.items())
    nothing = "every plan is listed" if name is None else f"no plan {name!r} is left out"
    out.show(found, lambda console: console.print(rows(make_table("plan", "why"), lines) if lines else nothing))


def _plan_row(name: str, plan: dict[str, Any]) -> tuple[str, str, str]:
    parameters = ", ".join(parameter["name"] for parameter in plan.get("parameters", []))
    return name, shorten(parameters, 50), shorten(" ".join(plan.get("description", "").split()))


def _device_row(name: str, device: dict[str, Any]) -> tuple[str, str, str]:
    can = [word for word in ("readable", "movable", "flyable") if device.get(f"is_{word}")]
    return name, device.get("classname", ""), ", ".join(can)
