"""What is printed: JSON, or for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import typer

from skybus.bus.api.items import LEFT_OUT
from skybus.bus.messages import Message, encode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
_LONGEST = 60
SHOWN_BYTES = 2000
"""Of the arguments of an item; those of megabytes are not read to show the queue."""
MOST_COLOURED = 100_000
"""Characters of JSON in colours; rich takes seconds for each million."""
SHORT_UID = 8
_FOLDED = ("arguments", "result", "parameters", "what it does")
"""Columns that share what the others leave of the line."""
_PIPE_WIDTH = 160


class Output:
    """Where a command prints."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, value: Any, human: Callable[[Console], None]) -> None:
        """Print a value: as JSON, or as the function does it for people."""
        if self.as_json:
            typer.echo(orjson.dumps(plain(value), option=_OPTIONS).decode())
            return
        human(make_console())

    def said(self, sentence: str, **facts: Any) -> None:
        """Print what was done."""
        self.show({"done": sentence, **facts}, lambda console: console.print(sentence, soft_wrap=True))

    def line(self, value: Any) -> None:
        """Print a value as one line of JSON."""
        typer.echo(orjson.dumps(plain(value), option=orjson.OPT_NON_STR_KEYS).decode())


def make_console() -> Console:
    """Where people read; without colours when it is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_PIPE_WIDTH)


def print_json(console: Console, value: Any) -> None:
    """Print a value as JSON; in colours if that is quick."""
    text = orjson.dumps(plain(value), option=_OPTIONS).decode()
    if console.is_terminal and len(text) <= MOST_COLOURED:
        console.print_json(text)
    else:
        typer.echo(text)


def make_table(*columns: str, title: str | None = None) -> Table:
    """A table with plain headings."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in _FOLDED)
    return table


def plain(value: Any) -> Any:
    """A value of which orjson makes JSON."""
    if isinstance(value, Message):
        return orjson.loads(encode(value))
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value


def arguments(item: dict[str, Any]) -> str:
    """The arguments of an item, shortened: `['det1', 'det2'], num=10`."""
    if left_out := item.get(LEFT_OUT):
        return f"({', '.join(left_out)}: more than {SHOWN_BYTES} bytes)"
    parts = [_brief(value) for value in item.get("args") or []]
    parts += [f"{name}={_brief(value)}" for name, value in (item.get("kwargs") or {}).items()]
    return shorten(", ".join(parts))


def owner(item: dict[str, Any]) -> str:
    """The user of an item; with the delegate if nobody has verified the user: `ann (via bridge)`."""
    via = item.get("via")
    return f"{item.get('user', '')} (via {via})" if via else item.get("user", "")


def shorten(text: str, longest: int = _LONGEST) -> str:
    """Cut a text that is too long for a table."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def short_uid(uid: str | None) -> str:
    """As much of a uid as people need; commands take it, too."""
    return (uid or "")[:SHORT_UID]


def clock(seconds: float | None) -> str:
    """A time of day, with the date when it is not today."""
    if not seconds:
        return ""
    then = datetime.fromtimestamp(seconds).astimezone()
    today = datetime.now().astimezone().date()
    return then.strftime("%H:%M:%S" if then.date() == today else "%Y-%m-%d %H:%M:%S")


def rows(table: Table, entries: Iterable[tuple[object, ...]]) -> Table:
    """Fill a table; texts are shown as they are."""
    from rich.text import Text

    for entry in entries:
        table.add_row(*(Text(str(cell)) for cell in entry))
    return table


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_brief(entry) for entry in value) + "]"
    return value if isinstance(value, str) else repr(value)
