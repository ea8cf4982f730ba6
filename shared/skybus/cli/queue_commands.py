"""`skybus queue`: what is to run, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from skybus.bus.api.items import Item
from skybus.bus.api.queue import QueuePage
from skybus.bus.errors import error_from_wire
from skybus.cli.arguments import json_object, make_item, position_of, split_arguments, which_item
from skybus.cli.commands import add_act, add_command, group
from skybus.cli.output import SHOWN_BYTES, Output, arguments, make_table, owner, print_json, rows, say, short_uid
from skybus.client.client import Client

if TYPE_CHECKING:
    from rich.console import Console

Which = Annotated[str, typer.Argument(help="A position (0 is the front, -1 the back), a uid or its beginning.")]
Words = Annotated[list[str] | None, typer.Argument(help="Arguments, JSON or plain words, then key=value.")]
ItemJson = Annotated[str | None, typer.Option("--item", help="The whole item as JSON.")]
Position = Annotated[str | None, typer.Option(help="front, back or a number.")]
Before = Annotated[str | None, typer.Option(help="Put it before this item.")]
After = Annotated[str | None, typer.Option(help="Put it after this item.")]
PlanName = Annotated[str | None, typer.Argument(help="The plan's name, or queue_stop.")]
Meta = Annotated[str | None, typer.Option(help="Metadata for the run, a JSON object.")]
Limit = Annotated[int | None, typer.Option(help="Show so many items at most.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = group("The queue: what is to run, and in which order.")
    add_command(commands, list_, "list")
    add_command(commands, start, "start")
    add_act(commands, Client.stop, "stop", "the queue stops after the running plan")
    add_act(commands, Client.cancel_stop, "cancel-stop", "the queue goes on")
    add_act(commands, Client.clear, "clear", "the queue is empty")
    for name, work in {
        "add": add,
        "validate": validate,
        "get": get,
        "update": update,
        "remove": remove,
        "move": move,
    }.items():
        add_command(commands, work, name, verbatim=True)
    for name, work in {"mode": mode, "autostart": autostart}.items():
        add_command(commands, work, name)
    app.add_typer(commands, name="queue")


async def list_(client: Client, out: Output, limit: Limit = None) -> None:
    """List the queue, the running item first."""
    page = await client.queue(limit=limit, max_item_bytes=None if out.as_json else SHOWN_BYTES)
    out.show(page, lambda console: _print(console, page))


async def add(
    client: Client,
    out: Output,
    plan: PlanName = None,
    words: Words = None,
    item: ItemJson = None,
    meta: Meta = None,
    pos: Position = None,
    before: Before = None,
    after: After = None,
) -> None:
    """Put an item into the queue: skybus queue add count '["det1", "det2"]' num=10 delay=0.5."""
    given = _given(plan, words, item, meta)
    place: dict[str, Any] = {"pos": position_of(pos)}
    for name, uid in (("before_uid", before), ("after_uid", after)):
        place[name] = await which_item(client, uid) if uid else None
    added = await client.add_item(given, **{name: value for name, value in place.items() if value is not None})
    out.show(added, lambda console: say(console, f"added {_words(added)}"))


async def validate(
    client: Client,
    out: Output,
    plan: PlanName = None,
    words: Words = None,
    item: ItemJson = None,
    meta: Meta = None,
) -> None:
    """Check an item as if it were to be added: skybus queue validate count '["det1"]' num=10."""
    (finding,) = await client.validate([_given(plan, words, item, meta)])
    if not finding.success:
        raise error_from_wire(finding.code, finding.msg)
    out.show(finding, lambda console: console.print("it can be added"))


async def get(client: Client, out: Output, which: Which = "back") -> None:
    """Show one item with all that it has."""
    found = await client.get_item(await which_item(client, which))
    out.show(found, lambda console: print_json(console, found))


async def update(
    client: Client,
    out: Output,
    which: Which,
    words: Annotated[list[str] | None, typer.Argument(help="key=value to change, or a plan and its arguments.")] = None,
    item: ItemJson = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give it a new uid.")] = False,
) -> None:
    """Change an item in its place: skybus queue update 0 num=20."""
    present = await client.get_item(await which_item(client, which))
    new = {**_changed(present, words or [], item), "item_uid": present["item_uid"]}
    updated = await client.update_item(new, replace=replace)
    out.show(updated, lambda console: say(console, f"now {_words(updated)}"))


async def remove(client: Client, out: Output, which: Which) -> None:
    """Take an item out of the queue."""
    removed = await client.remove(await which_item(client, which))
    out.show(removed, lambda console: say(console, f"removed {_words(removed)}"))


async def move(
    client: Client,
    out: Output,
    which: Which,
    to: Annotated[str, typer.Argument(help="front, back or a position.")],
) -> None:
    """Move an item to another position."""
    position: Any = position_of(to)
    moved = await client.move(await which_item(client, which), position)
    out.show(moved, lambda console: say(console, f"moved {_words(moved)}"))


async def start(
    client: Client,
    out: Output,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the queue has stopped.")] = False,
) -> None:
    """Begin to run the queue."""
    await client.start()
    if not wait:
        out.said("the queue has started")
        return
    ended = await client.wait(lambda status: status.manager_state in ("idle", "paused"))
    out.said(f"the queue has stopped: {ended.manager_state}, {ended.items_in_queue} left")


async def mode(
    client: Client,
    out: Output,
    loop: Annotated[bool | None, typer.Option(help="Items that have run go to the back.")] = None,
    ignore_failures: Annotated[bool | None, typer.Option(help="A failed plan does not stop the queue.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Set all back.")] = False,
) -> None:
    """Show or change how the queue treats items that have run."""
    given = {"loop": loop, "ignore_failures": ignore_failures}
    wanted = {name: value for name, value in given.items() if value is not None}
    if default or wanted:
        now = await client.set_mode("default" if default else wanted)
    else:
        now = (await client.status()).plan_queue_mode
    words = ", ".join(f"{name.replace('_', ' ')} {'on' if value else 'off'}" for name, value in now)
    out.show(now, lambda console: console.print(words))


async def autostart(
    client: Client,
    out: Output,
    setting: Annotated[str, typer.Argument(help="on or off")],
) -> None:
    """Start the queue by itself whenever there is something to run."""
    if setting not in ("on", "off"):
        raise typer.BadParameter(f"{setting!r} is neither 'on' nor 'off'")
    await client.set_autostart(enable=setting == "on")
    out.said(f"autostart is {setting}")


def _given(plan: str | None, words: list[str] | None, item: str | None, meta: str | None) -> Item:
    if item and meta:
        raise typer.BadParameter("--meta goes with a plan's name; in --item it is a part of the item")
    if item and not plan:
        return {"item_type": "plan", **json_object(item, "--item")}
    if plan and not item:
        return make_item(plan, words or [], meta)
    raise typer.BadParameter("a plan's name or --item is needed, and not both")


def _changed(present: Item, words: list[str], item: str | None) -> Item:
    if bool(item) == bool(words):
        raise typer.BadParameter("to change it, give key=value, a plan with its arguments, or --item alone")
    if item:
        return {"item_type": present["item_type"], **json_object(item, "--item")}
    args, kwargs = split_arguments(words)
    if args:
        return make_item(words[0], words[1:])
    return {**present, "kwargs": {**present.get("kwargs", {}), **kwargs}}


def _print(console: Console, page: QueuePage) -> None:
    if not page.items and not page.running_item:
        console.print("the queue is empty")
        return
    entries = [("runs", page.running_item)] if page.running_item else []
    entries += [(str(position), item) for position, item in enumerate(page.items)]
    lines = (
        (where, item["name"], arguments(item), owner(item), short_uid(item["item_uid"])) for where, item in entries
    )
    console.print(rows(make_table("", "plan", "arguments", "user", "uid"), lines))
    if page.qsize > len(page.items):
        console.print(f"{page.qsize - len(page.items)} more")


def _words(item: Item) -> str:
    """An item in one line."""
    return f"{item['name']}({arguments(item)})  {short_uid(item.get('item_uid'))}"
