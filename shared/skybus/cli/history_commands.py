"""`skybus history`: what has run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from skybus.bus.api.history import HistoryPage
from skybus.bus.api.items import Item
from skybus.bus.errors import NotFoundError
from skybus.cli.arguments import one_uid
from skybus.cli.commands import add_command, group
from skybus.cli.output import (
    SHOWN_BYTES,
    Output,
    arguments,
    clock,
    make_table,
    owner,
    print_json,
    rows,
    say,
    short_uid,
    shorten,
)
from skybus.client.client import Client

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = group("What has run, and how it ended.")
    for name, work in {"list": list_, "get": get, "clear": clear}.items():
        add_command(commands, work, name)
    app.add_typer(commands, name="history")


async def list_(
    client: Client,
    out: Output,
    last: Annotated[int, typer.Option(help="So many of the newest items.", min=1)] = 20,
) -> None:
    """List the newest items of the history, the newest at the bottom."""
    size = (await client.history(limit=0)).size
    page = await client.history(
        offset=max(0, size - last), limit=last, max_item_bytes=None if out.as_json else SHOWN_BYTES
    )
    out.show(page, lambda console: _print(console, page))


async def get(
    client: Client,
    out: Output,
    uid: Annotated[str, typer.Argument(help="The uid of the item, or its beginning.")],
) -> None:
    """Show one item, what it printed as an error included."""
    page = await client.history(max_item_bytes=0)
    places = {item["item_uid"]: place for place, item in enumerate(page.items)}
    place = places.get(one_uid(uid, list(places)))
    if place is None:
        raise NotFoundError(f"no item in the history begins with {uid!r}: `skybus history list` shows what is")
    found = (await client.history(offset=place, limit=1)).items[0]
    out.show(found, lambda console: _print_item(console, found))


async def clear(
    client: Client,
    out: Output,
    keep: Annotated[int | None, typer.Option(help="Keep so many of the newest.", min=0)] = None,
) -> None:
    """Forget the history, or all but its newest items."""
    await client.clear_history(keep=keep)
    out.said("the history is empty" if not keep else f"the history has its newest {keep} at most")


def _print(console: Console, page: HistoryPage) -> None:
    if not page.items:
        console.print("the history is empty")
        return
    console.print(
        rows(make_table("ended", "took", "plan", "arguments", "user", "result", "uid"), map(_row, page.items))
    )


def _row(item: Item) -> tuple[object, ...]:
    result: dict[str, Any] = item.get("result") or {}
    begin, end = result.get("time_start"), result.get("time_stop")
    said = shorten(f"{result.get('exit_status', '')} {_first_line(result.get('msg'))}".strip(), 40)
    took = f"{end - begin:.1f} s" if begin and end else ""
    return clock(end), took, item["name"], arguments(item), owner(item), said, short_uid(item["item_uid"])


def _first_line(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "")


def _print_item(console: Console, item: Item) -> None:
    trace = (item.get("result") or {}).get("traceback")
    shown = {**item, "result": {**(item.get("result") or {}), "traceback": "(below)"}} if trace else item
    print_json(console, shown)
    if trace:
        say(console, trace, lines=True)
