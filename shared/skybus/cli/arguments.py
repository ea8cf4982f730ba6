"""How people write items and positions on a command line."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from skybus.bus.api.items import INSTRUCTION, PLAN, QUEUE_STOP, Item
from skybus.client.client import Client

Everything = Annotated[bool, typer.Option("--all", help="Also what the services log.")]
OneService = Annotated[str | None, typer.Option(help="Instead, what one service logs: queue, auth, console, worker.")]

_KEYWORD = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_MOST_DIGITS = 4300
"""Of an integer that Python reads from text."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def value_of(text: str) -> Any:
    """JSON where it is some, else the word itself."""
    try:
        return json.loads(text)
    except ValueError:
        if text.startswith(("[", "{")):
            raise typer.BadParameter(f"{text!r} begins like JSON and is none; quote it for the shell") from None
        if len(text) > _MOST_DIGITS and text.removeprefix("-").isdigit():
            reason = f"{text[:20]}...: an integer has {_MOST_DIGITS} digits at most; quote it as text"
            raise typer.BadParameter(reason) from None
        return text


def split_arguments(words: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """Part `det1 num=10` into arguments and keyword arguments."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        keyword = _KEYWORD.fullmatch(word)
        if keyword:
            kwargs[keyword[1]] = value_of(keyword[2])
        elif kwargs:
            raise typer.BadParameter(f"{word!r} stands behind a key=value; arguments without a name come first")
        else:
            args.append(value_of(word))
    return args, kwargs


def make_item(name: str, words: list[str], meta: str | None = None) -> Item:
    """Make an item of a plan's name and what follows it."""
    args, kwargs = split_arguments(words)
    item: Item = {"item_type": INSTRUCTION if name == QUEUE_STOP else PLAN, "name": name}
    if args:
        item["args"] = args
    if kwargs:
        item["kwargs"] = kwargs
    if meta:
        item["meta"] = json_object(meta, "--meta")
    return item


def json_object(text: str, what: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f'{what} must be a JSON object, such as {{"name": "count"}}')
    return value


def position_of(text: str | None) -> int | str | None:
    """`front`, `back`, or a number."""
    if text is None or text in ("front", "back"):
        return text
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"position {text!r}: 'front', 'back' or a number is needed") from None


async def which_item(client: Client, text: str) -> str | int:
    """Find out which item is meant: a position, a uid, or the beginning of one."""
    if text in ("front", "back") or re.fullmatch(r"-?\d{1,6}", text):
        return text if text in ("front", "back") else int(text)
    page = await client.queue(max_item_bytes=0)
    uids = [item["item_uid"] for item in (page.running_item, *page.items) if item]
    return one_uid(text, uids)


def one_uid(text: str, uids: list[str]) -> str:
    """The uid that begins like this; the text itself when there is none."""
    found = sorted({uid for uid in uids if uid.startswith(text)})
    if len(found) > 1 and text not in found:
        raise typer.BadParameter(f"{text!r} fits {len(found)} items; write more of the uid")
    return text if text in found or not found else found[0]


def moment(text: str) -> float:
    """A moment in unix seconds: `10m` (ago), `14:30` (today), or ISO 8601."""
    ago = _AGO.fullmatch(text)
    if ago:
        return time.time() - float(ago[1]) * _SECONDS[ago[2]]
    today = datetime.now().astimezone()
    for written in (text, f"{today.date().isoformat()}T{text}"):
        try:
            return datetime.fromisoformat(written).timestamp()
        except ValueError:
            continue
    raise typer.BadParameter(f"{text!r}: write 10m, 2h, 14:30 or 2026-11-22T14:30")
