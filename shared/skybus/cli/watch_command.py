"""`skybus watch`: status, progress and console output, live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import typer

from skybus.bus.api.console import ConsoleChunk
from skybus.bus.api.progress import MoveProgress, PlanProgress
from skybus.bus.api.status import Status
from skybus.bus.errors import SkybusError
from skybus.bus.visible_text import visible
from skybus.cli.arguments import Everything, OneService
from skybus.cli.commands import add_command
from skybus.cli.output import Output, make_console, short_uid
from skybus.cli.plan_output import PlanOutput
from skybus.cli.status_command import facts
from skybus.client.client import Client

if TYPE_CHECKING:
    from rich.live import Live

_BAR = 30


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, watch, "watch")


async def watch(client: Client, out: Output, everything: Everything = False, service: OneService = None) -> None:
    """Show status, progress and what plans print as they come, until Ctrl-C; with --json each status."""
    if out.as_json:
        await _print_lines(client, out)
        return
    from rich.live import Live

    console = make_console()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        view = View(live)
        async with asyncio.TaskGroup() as group:
            output = client.console(last=20, everything=everything, service=service)
            for work in (view.follow_status(client), view.follow_progress(client), view.follow_console(output)):
                group.create_task(work)


class View:
    """The lines at the bottom of the screen; console output goes by above them."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._status: Status | None = None
        self._progress: PlanProgress | None = None

    async def follow_status(self, client: Client) -> None:
        """Show each status."""
        async with aclosing(client.statuses()) as statuses:
            async for status in statuses:
                self._status = status
                self._draw()

    async def follow_progress(self, client: Client) -> None:
        """Show how far the plan is."""
        with suppress(SkybusError):
            self._progress = await client.progress()
        async with aclosing(client.events("progress.*")) as events:
            async for event in events:
                with suppress(SkybusError):  # plan code may publish anything there
                    self._progress = event.read(PlanProgress)
                self._draw()

    async def follow_console(self, output: AsyncGenerator[ConsoleChunk]) -> None:
        """Show console output, in its colours."""
        plans = PlanOutput(in_terminal=self._live.console.is_terminal, draws=False)
        async with aclosing(output) as chunks:
            async for chunk in chunks:
                self._live.console.print(plans.shown(chunk.text), end="", soft_wrap=True)

    def _draw(self) -> None:
        if self._status is None:
            return
        lines = [f"{name:<12} {text}" for name, text in facts(self._status)]
        progress = self._progress
        if progress and progress.item_uid == self._status.running_item_uid:
            lines.append(f"{'progress':<12} {bar(progress)}")
            lines += [f"{'moving':<12} {move_text(move)}" for move in progress.moves]
        from rich.text import Text

        self._live.update(Text("\n".join(map(visible, lines))), refresh=True)


def bar(progress: PlanProgress) -> str:
    """Progress in characters: `########----  40%  4 of 10`."""
    if not progress.run_uid:
        return "no run yet"
    if progress.fraction is None:
        return f"{progress.done} points of run {short_uid(progress.run_uid)}"
    full = round(_BAR * min(max(progress.fraction, 0), 1))
    return f"{'#' * full}{'-' * (_BAR - full)} {progress.fraction:4.0%}  {progress.done} of {progress.planned}"


def move_text(move: MoveProgress) -> str:
    """One move: `theta at 1.5 of 2 deg`."""
    at = "" if move.current is None else f" at {move.current:g}"
    end = "" if move.target is None else f" of {move.target:g}"
    return f"{move.name}{at}{end} {move.unit}".rstrip()


async def _print_lines(client: Client, out: Output) -> None:
    async with aclosing(client.statuses()) as statuses:
        async for status in statuses:
            out.line(status)
