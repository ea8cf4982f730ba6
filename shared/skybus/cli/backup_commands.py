"""`skybus backup` and `skybus restore`: queue and history in a file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from skybus.bus.api.backup import PictureTaken, Restored
from skybus.bus.api.items import Item
from skybus.bus.errors import ConflictError, InvalidError, NotFoundError
from skybus.cli.backup_file import Backup, Header, Line, Writer
from skybus.cli.commands import add_command
from skybus.cli.output import Output
from skybus.client.backups import Contents
from skybus.client.client import Client

Part = tuple[list[Item], list[Item]]
Counts = PictureTaken | Restored | Contents
Advance = Callable[[int], None]
"""Told how many more items are done."""

_COUNTS = {"items_in_queue", "items_in_history"}
TRIES = 3
"""How often a backup or a restore is begun when the queue service dies half way, or the history is cleared."""
STANDARD = Path("-")
File = Annotated[Path, typer.Argument(help="The file; - for standard output or input.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Also when there are items; a backup of them is written beside FILE first.")
]
AnyOrigin = Annotated[bool, typer.Option("--force", help="Also a backup of another instrument or version.")]
LockKey = Annotated[str | None, typer.Option(help="The key, if the queue is locked.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, backup, "backup")
    add_command(app, restore, "restore")


async def backup(client: Client, out: Output, file: File, force: Force = False) -> None:
    """Write queue, history and mode into a file, as they are at one moment; everything goes on meanwhile."""
    if file == STANDARD:
        with tempfile.TemporaryFile() as target:
            await _write(client, target)
            target.seek(0)
            shutil.copyfileobj(target, sys.stdout.buffer)
        return
    picture = await _save(client, file, force=force)
    running = ", and the item that runs," if picture.running_item else ""
    out.said(f"{_amount(picture)}{running} are in {file}", file=str(file), **picture.model_dump(include=_COUNTS))


async def restore(
    client: Client,
    out: Output,
    file: File,
    replace: Replace = False,
    force: AnyOrigin = False,
    lock_key: LockKey = None,
) -> None:
    """Put queue, history and mode of a backup in the place of what there is: all of it, or nothing."""
    beside = _beside(file)
    with _opened(file) as source:
        kept = Backup(source, client.bus.subjects.inst, any_origin=force)
        seen = await _keep_what_is_there(client, beside) if replace else None
        restored = await _send(client, kept, replace=replace, seen=seen, lock_key=lock_key)
    contents = kept.contents
    before = f"; what was there before is in {beside}" if seen else ""
    lost = "; the plan that was running is in both: it failed, and is at the front" if contents.running_item else ""
    out.said(
        f"{_amount(restored)} were restored{lost}; autostart is off{before}",
        **restored.model_dump(),
        replaced=str(beside) if seen else None,
    )


async def _send(
    client: Client, kept: Backup, *, replace: bool, seen: PictureTaken | None, lock_key: str | None
) -> Restored:
    """Restore; once more if the queue service, or Redis, has forgotten half way what was brought."""
    for left in reversed(range(TRIES)):
        try:
            with _progress("sending", kept.contents) as advance:
                parts = _counted(kept.parts(), advance)
                return await client.restore(kept.contents, parts, replace=replace, seen=seen, lock_key=lock_key)
        except NotFoundError:  # then nothing was changed
            if not left:
                raise
    raise AssertionError("unreachable")


async def _keep_what_is_there(client: Client, beside: Path) -> PictureTaken | None:
    status = await client.status()
    if not (status.items_in_queue or status.items_in_history):
        return None
    return await _save(client, beside, force=False)


async def _save(client: Client, file: Path, *, force: bool) -> PictureTaken:
    """Write a backup under another name first, so that there is never half of one."""
    _require_free(file, force=force)
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        with unfinished.open("wb") as target:
            picture = await _write(client, target)
            target.flush()
            os.fsync(target.fileno())
        _require_free(file, force=force)
        unfinished.replace(file)
    except OSError as error:
        raise InvalidError(f"cannot write {file}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()
    return picture


async def _write(client: Client, target: BinaryIO) -> PictureTaken:
    """Write a picture; another one if it cannot be read to its end."""
    for left in reversed(range(TRIES)):
        try:
            return await _write_picture(client, target)
        except (ConflictError, NotFoundError):
            if not left:
                raise
            target.seek(0)
            target.truncate()
    raise AssertionError("unreachable")


async def _write_picture(client: Client, target: BinaryIO) -> PictureTaken:
    picture = await client.take_picture()
    writer = Writer(target)
    writer.write(Line(backup=Header.of(picture, client.bus.subjects.inst)))
    if picture.running_item:
        writer.write(Line(running=picture.running_item))
    with _progress("reading", picture) as advance:
        async for items in client.picture_pages(picture, "queue"):
            _write_items(writer, [Line(queue=item) for item in items], advance)
        async for items in client.picture_pages(picture, "history"):
            _write_items(writer, [Line(history=item) for item in items], advance)
    writer.end()
    return picture


def _write_items(writer: Writer, lines: list[Line], advance: Advance) -> None:
    for line in lines:
        writer.write(line)
    advance(len(lines))


def _counted(parts: Iterable[Part], advance: Advance) -> Iterator[Part]:
    """Parts, counted when the next one is wanted."""
    for queue, history in parts:
        yield queue, history
        advance(len(queue) + len(history))


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """A file that can be read twice."""
    if file == STANDARD:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            yield copy
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise InvalidError(f"cannot read {file}: {error.strerror}") from None
    with source:
        yield source


@contextmanager
def _progress(deed: str, counts: Counts) -> Iterator[Advance]:
    """Show on the terminal, if there is one, how far it is."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(deed, total=counts.items_in_queue + counts.items_in_history)
        yield lambda more: progress.advance(task, more)


def _require_free(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise ConflictError(f"{file} is there already: --force writes over it")


def _beside(file: Path) -> Path:
    """Where what was there is kept when it is replaced."""
    now = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S-%f")
    folder = Path.cwd() if file == STANDARD else file.parent
    return folder / f"before-restore-{now}.jsonl"


def _amount(counts: Counts) -> str:
    return f"{counts.items_in_queue} items of the queue and {counts.items_in_history} of the history"
