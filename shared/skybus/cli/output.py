"""What is printed: JSON, or for people.

Commands print here only. Whatever users have written is shown as text: control characters, escape sequences and what
reverses the text are escaped, and nothing is taken for markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from skybus.bus.api.items import LEFT_OUT
from skybus.bus.json_values import read_json, write_json
from skybus.bus.messages import Message, encode
from skybus.bus.visible_text import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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
            typer.echo(_json(value, indent=True))
            return
        human(make_console())

    def said(self, sentence: str, **facts: Any) -> None:
        """Print what was done."""
        self.show({"done": sentence, **facts}, lambda console: say(console, sentence))

    def line(self, value: Any) -> None:
        """Print a value as one line of JSON."""
        typer.echo(_json(value))


def make_console() -> Console:
    """Where people read; without colours when it is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_PIPE_WIDTH)


def say(console: Console, text: str, *, lines: bool = False) -> None:
    """Print a sentence, or with `lines` a text of several, such as a traceback."""
    console.print(visible(text, keep="\n\t" if lines else ""), soft_wrap=True)


def say_all(console: Console, lines: Iterable[str]) -> None:
    """Print sentences, one a line."""
    for line in lines:
        say(console, line)


def complain(text: str, colour: str | None = "red", *, lines: bool = False) -> None:
    """Print what is wrong to standard error."""
    typer.secho(visible(text, keep="\n\t" if lines else ""), fg=colour, err=True)


def print_json(console: Console, value: Any) -> None:
    """Print a value as JSON; in colours if that is quick."""
    text = _json(value, indent=True)
    if console.is_terminal and len(text) <= MOST_COLOURED:
        from rich.highlighter import JSONHighlighter

        console.print(JSONHighlighter()(text), soft_wrap=True)
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
    """A value of which JSON is made."""
    if isinstance(value, Message):
        return read_json(encode(value))
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
        table.add_row(*(Text(visible(str(cell))) for cell in entry))
    return table


def _json(value: Any, *, indent: bool = False) -> str:
    return visible_json(write_json(plain(value), indent=indent).decode())


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_brief(entry) for entry in value) + "]"
    return value if isinstance(value, str) else repr(value)
