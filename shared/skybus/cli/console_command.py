"""`skybus console`: what was printed."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import Annotated

import typer

from skybus.cli.arguments import Everything, OneService, moment
from skybus.cli.commands import add_command
from skybus.cli.output import Output
from skybus.cli.plan_output import plan_output
from skybus.client.client import Client

_LINES = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, console, "console")


async def console(
    client: Client,
    out: Output,
    last: Annotated[int | None, typer.Option(help=f"Begin with so many lines [default: {_LINES}].", min=1)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on.")] = False,
    item: Annotated[str | None, typer.Option(help="Only what was printed while this item ran (its whole uid).")] = None,
    everything: Everything = False,
    service: OneService = None,
    since: Annotated[str | None, typer.Option(help="Begin at 10m (ago), 14:30 or 2026-11-22T14:30.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Unchanged, with all that steers a terminal; only for plans that you trust.")
    ] = False,
) -> None:
    r"""Print what plans, tasks and startup code print; with --all or --service also what the services log.

    A terminal gets colours, carriage returns and the cursor moves of progress bars; a pipe or a file gets the text
    alone. Other escape sequences, such as those for clipboard, title and device queries, are left out. Other control
    characters are shown, such as \x07.
    """
    begin = moment(since) if since else None
    if last is None and begin is None and item is None:
        last = _LINES
    found = client.console(last=last, since=begin, item_uid=item, everything=everything, service=service, follow=follow)
    plans = plan_output()
    async with aclosing(found) as chunks:
        async for chunk in chunks:
            if out.as_json:
                out.line(chunk)
            else:
                _write(chunk.text if raw else plans.shown(chunk.text))
    if not out.as_json:
        _write(plans.rest())


def _write(text: str) -> None:
    """Print without what `typer.echo` does: in a pipe it takes some escape sequences away, asked or not."""
    sys.stdout.write(text)
    sys.stdout.flush()
