"""`skybus demo`: the main job once, from an empty folder to a clean stop; what a user would do by hand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from skybus.bus.api.items import Item
from skybus.bus.api.progress import PlanProgress
from skybus.bus.errors import SkybusError
from skybus.bus.settings import LISTEN_FILE, Listen
from skybus.cli.output import owner
from skybus.cli.plan_output import PlanOutput
from skybus.cli.refusal import refuse
from skybus.client.client import Client
from skybus.stack.child import end_with_parent

out = Console(highlight=False)

PATIENCE = 60.0
"""Seconds for each step."""
OVER_NATS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("count", [["det1", "det2"]], {"num": 10, "delay": 0.1}),
    ("scan", [["det"], "motor", -1, 1, 11], {}),
    ("print_lines", [5], {}),
]
OVER_0MQ: Item = {
    "item_type": "plan",
    "name": "slow_count",
    "args": [["noisy_det"]],
    "kwargs": {"num": 5, "delay": 0.2},
}


class DemoError(Exception):
    """A step did not do what it should."""


def demo() -> None:
    """Bring everything up, run a few plans, show what happens, stop: in a folder that is thrown away."""
    _forget_settings()
    try:
        asyncio.run(_demo())
    except KeyboardInterrupt:
        out.print("stopped by Ctrl-C: nothing is left behind")
        raise typer.Exit(130) from None
    except (DemoError, SkybusError, TimeoutError) as error:
        refuse("demo", error or "a step took too long")


async def _demo() -> None:
    with tempfile.TemporaryDirectory(prefix="skybus-demo-") as folder:
        async with _stack(Path(folder)) as listen, Client.connect(data_dir=folder) as client:
            await _open(client)
            await _fill_queue(client, listen)
            await _run_queue(client)
            _show_history((await client.history()).items, expected=len(OVER_NATS) + 1)
            await client.close_environment(timeout=PATIENCE)
    out.print("[bold green]done[/]: everything has stopped, nothing is left behind")


def _forget_settings() -> None:
    """Drop the settings of another stack: a startup folder, keys and a data directory may be exported here."""
    for name in [name for name in os.environ if name.startswith("SKYBUS_")]:
        del os.environ[name]


@asynccontextmanager
async def _stack(folder: Path) -> AsyncIterator[Listen]:
    _step("skybus up: NATS, Valkey and five services, each a process of its own")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "skybus"),
        "up",
        "--data-dir",
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to pass on
        preexec_fn=end_with_parent,
    )
    try:
        await asyncio.wait_for(_until_ready(process), PATIENCE)
        yield Listen.model_validate_json((folder / LISTEN_FILE).read_bytes())
        _step("stop everything")
        if code := await _stop(process):
            raise DemoError(f"`skybus up` ended with exit code {code}")
    finally:
        if process.returncode is None:
            await _stop(process)


async def _until_ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout
    while line := (await process.stdout.readline()).decode():
        if line.startswith("ready"):
            out.print(f"  {line.strip()}", soft_wrap=True)
            return
    raise DemoError(f"`skybus up` ended with exit code {await process.wait()}")


async def _stop(process: asyncio.subprocess.Process) -> int:
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    code = await asyncio.wait_for(process.wait(), PATIENCE)
    out.print(f"  stopped in {time.monotonic() - begin:.2f} s")
    return code


async def _open(client: Client) -> None:
    _step("open the environment: devices of ophyd.sim, plans of bluesky.plans")
    begin = time.monotonic()
    await client.open_environment(timeout=PATIENCE)
    plans, devices = await client.plans(), await client.devices()
    out.print(f"  {len(plans)} plans, {len(devices)} devices, in {time.monotonic() - begin:.2f} s")


async def _fill_queue(client: Client, listen: Listen) -> None:
    _step("put plans into the queue: three over NATS, one over 0MQ")
    for name, args, kwargs in OVER_NATS:
        await client.add(name, *args, **kwargs)
    await asyncio.to_thread(_add_over_0mq, listen.zmq_control)
    for number, item in enumerate((await client.queue()).items):
        out.print(f"  {number}  {item['name']:12} {owner(item)}")


def _add_over_0mq(address: str) -> None:
    """Say it as any 0MQ client of the reference would."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        socket.connect(address)
        params = {"item": OVER_0MQ, "user": "0MQ client", "user_group": "primary"}
        socket.send_json({"method": "queue_item_add", "params": params})
        try:
            reply = json.loads(socket.recv())
        except zmq.Again:
            raise DemoError(f"nobody answers 0MQ requests at {address}") from None
    if not reply["success"]:
        raise DemoError(f"the item sent over 0MQ was refused: {reply['msg']}")


async def _run_queue(client: Client) -> None:
    _step("start the queue")
    bars = Progress(
        TextColumn("  {task.description:12}"), BarColumn(), MofNCompleteColumn(), TextColumn("points"), console=out
    )
    with bars:
        shows = [asyncio.create_task(_show_console(client, bars)), asyncio.create_task(_show_progress(client, bars))]
        try:
            await client.start()
            await client.wait("queue_drained", timeout=PATIENCE)
        finally:
            for show in shows:
                show.cancel()
            await asyncio.wait(shows)
    for show in shows:
        if not show.cancelled() and (error := show.exception()):
            raise DemoError(f"the live view failed: {error}") from error


async def _show_console(client: Client, bars: Progress) -> None:
    plans = PlanOutput(in_terminal=False)
    async with aclosing(client.console()) as chunks:
        async for chunk in chunks:
            bars.console.print(plans.shown(chunk.text).rstrip("\n"), style="dim", markup=False)


async def _show_progress(client: Client, bars: Progress) -> None:
    tasks: dict[str, Any] = {}
    async with aclosing(client.events("progress.>")) as events:
        async for event in events:
            progress = event.read(PlanProgress)
            if progress.item_uid not in tasks:
                tasks[progress.item_uid] = bars.add_task(f"plan {len(tasks) + 1}", total=progress.planned)
            bars.update(tasks[progress.item_uid], completed=progress.done, total=progress.planned)


def _show_history(items: list[Item], expected: int) -> None:
    _step("history")
    table = Table("plan", "user", "result", "scan id", "run uid", "seconds", box=None, padding=(0, 2))
    for item in items:
        result = item["result"]
        table.add_row(
            item["name"],
            owner(item),
            result["exit_status"],
            " ".join(str(number) for number in result["scan_ids"]),
            " ".join(uid[:8] for uid in result["run_uids"]),
            f"{result['time_stop'] - result['time_start']:.2f}",
        )
    out.print(table)
    done = [item for item in items if item["result"]["exit_status"] == "completed"]
    if len(done) != expected:
        raise DemoError(f"{len(done)} plans of {expected} were completed")


def _step(what: str) -> None:
    out.print(f"[bold]» {what}[/]")
