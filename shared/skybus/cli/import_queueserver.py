"""`skybus import-queueserver`: take over queue, history, mode, lock and permissions from the Bluesky Queue Server."""

from __future__ import annotations

import asyncio
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from skybus.bus.errors import InvalidError, SkybusError
from skybus.bus.settings import DEFAULT_INSTRUMENT, default_data_dir
from skybus.cli.manager.services import redis_url
from skybus.cli.refusal import refuse
from skybus.stack import datadir
from skybus.stack.datadir import DataDir
from skybus.stack.valkey_alone import valkey_alone

_TOOL = "skybus.queue.import_reference"
"""Of the queue service, which knows its keys."""
PERMISSIONS = "user_group_permissions.imported.yaml"


class Running(StrEnum):
    """Where an item goes that was running."""

    HISTORY = "history"
    QUEUE = "queue"


def import_queueserver(
    redis_addr: Annotated[str, typer.Option(help="The Queue Server's Redis.")] = "localhost",
    redis_name_prefix: Annotated[str, typer.Option(help="The Queue Server's prefix.")] = "qs_default",
    for_re_manager: Annotated[
        bool,
        typer.Option(
            "--for-re-manager",
            help="Into the same Redis, where `skybus re-manager` with these two options looks; "
            "otherwise into the data directory, for `skybus up`.",
        ),
    ] = False,
    into_redis_addr: Annotated[str | None, typer.Option(help="Into another Redis.")] = None,
    into_redis_name_prefix: Annotated[str | None, typer.Option(help="Prefix of our keys in it.")] = None,
    data_dir: Annotated[Path | None, typer.Option(envvar="SKYBUS_DATA_DIR", help="Where everything lives.")] = None,
    instrument: Annotated[
        str, typer.Option(envvar="SKYBUS_INSTRUMENT", help="Name of the instrument.")
    ] = DEFAULT_INSTRUMENT,
    running: Annotated[Running, typer.Option(help="Where an item goes that was running.")] = Running.HISTORY,
    replace: Annotated[bool, typer.Option("--replace", help="Also if there is something of ours already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be taken over.")] = False,
) -> None:
    """Take over queue, history, mode, lock and permissions of a Bluesky Queue Server, which must be stopped."""
    try:
        if for_re_manager and into_redis_addr:
            raise InvalidError("--for-re-manager and --into-redis-addr exclude each other")
        source = redis_url(redis_addr)
        target = source if for_re_manager else redis_url(into_redis_addr) if into_redis_addr else None
        environment = {
            "SKYBUS_INSTRUMENT": instrument,
            "SKYBUS_REFERENCE_REDIS_URL": source,
            "SKYBUS_REFERENCE_PREFIX": redis_name_prefix,
            "SKYBUS_REDIS_PREFIX": into_redis_name_prefix or (redis_name_prefix if for_re_manager else "sky"),
        }
        words = [f"--running={running}", *(["--replace"] if replace else []), *(["--dry-run"] if dry_run else [])]
        path = data_dir or default_data_dir()
        code = asyncio.run(_import(path, target, environment, [*words, f"--permissions={path / PERMISSIONS}"]))
    except SkybusError as error:
        refuse("import-queueserver", error.message)
    if code == 0 and not dry_run and (path / PERMISSIONS).exists():
        typer.echo(f"permissions: start with --user-group-permissions {path / PERMISSIONS}, or edit yours")
    raise typer.Exit(code)


async def _import(path: Path, target: str | None, environment: dict[str, str], words: list[str]) -> int:
    """Run the tool while nobody else can start a stack on the data directory."""
    held = datadir.take(path)
    try:
        if target:
            return await _run_tool({**environment, "SKYBUS_REDIS_URL": target}, words)
        return await _into_data_dir(held, environment, words)
    finally:
        held.release()


async def _into_data_dir(held: DataDir, environment: dict[str, str], words: list[str]) -> int:
    async with valkey_alone(held) as url:
        return await _run_tool({**environment, "SKYBUS_REDIS_URL": url}, words)


async def _run_tool(environment: dict[str, str], words: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", _TOOL, *words, env={**os.environ, **environment}
    )
    return await process.wait()
