"""`python -m skybus.queue.import_reference`: take over what the Bluesky Queue Server keeps in Redis.

`skybus import-queueserver` runs this. One script changes our keys or nothing does; those of the reference stay as they
are. The lock on the data directory keeps `skybus up` away meanwhile; a queue service elsewhere is seen by the name of
its connection, and one that we have missed is fenced out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from skybus.bus.api.items import Item
from skybus.bus.errors import ConflictError, NotFoundError, SkybusError
from skybus.bus.json_values import write_json
from skybus.bus.messages import Message
from skybus.bus.settings import DEFAULT_INSTRUMENT
from skybus.bus.visible_text import visible
from skybus.queue.book import Book
from skybus.queue.line import Line
from skybus.queue.locks import NO_LOCK, Lock
from skybus.queue.records import new_uid
from skybus.queue.reference_keys import ReferenceState, read_reference
from skybus.queue.settings import QueueSettings
from skybus.queue.store import Store

LOST = "Plan exit status was lost: the item was running when the queue was taken over from the Queue Server"


class ImportSettings(QueueSettings):
    """Where the reference keeps its queue; addresses may hold passwords, so they come by the environment."""

    reference_redis_url: SecretStr = SecretStr("redis://localhost")
    reference_prefix: str = "qs_default"


class Takeover(Message):
    """What our keys will hold."""

    queue: list[Item]
    history: list[Item]
    state: ReferenceState

    @classmethod
    def made(cls, state: ReferenceState, *, running_to_front: bool) -> Takeover:
        """Decide what becomes of the item that was running: nobody knows how it ended.

        Args:
            state: of the reference.
            running_to_front: whether it is to be run again; otherwise it goes into the history as `unknown`, and in
                loop mode to the back of the queue, as when the reference starts.
        """
        queue, history = list(state.queue), list(state.history)
        if state.running is None:
            return cls(queue=queue, history=history, state=state)
        marks = state.running.get("properties") or {}
        item = {name: value for name, value in state.running.items() if name != "properties"}
        was_immediate = bool(marks.get("immediate_execution"))
        if running_to_front and not was_immediate:
            return cls(queue=[item, *queue], history=history, state=state)
        if state.mode.loop and not was_immediate:
            queue.append({**item, "item_uid": str(uuid.uuid5(uuid.NAMESPACE_OID, item["item_uid"]))})
        begun = marks.get("time_start")
        return cls(queue=queue, history=[*history, _lost(item, begun)], state=state)

    def is_done(self, book: Book, history: Sequence[Item]) -> bool:
        """Whether all of this was taken over before."""
        return (
            [item["item_uid"] for item in book.line] == [item["item_uid"] for item in self.queue]
            and [item.get("item_uid") for item in history] == [item.get("item_uid") for item in self.history]
            and book.flags.mode == self.state.mode
            and _same_lock(book.lock, self.state.lock)
        )

    def fill(self, book: Book) -> None:
        """Put it into the book."""
        book.line = Line()
        book.journal += [("DEL", "queue"), ("DEL", "items"), ("DEL", "history")]
        book.insert(self.queue)
        book.journal += [("RPUSH", "history", write_json(item)) for item in self.history]
        book.history_size = len(self.history)
        book.set_lock(self.state.lock)
        book.set_flags(mode=self.state.mode, autostart=False, stop_pending=False, history_uid=new_uid())

    def table(self, permissions: Path) -> str:
        """What is taken over, for people."""
        state, lock = self.state, self.state.lock
        locked = [name for name in ("environment", "queue") if getattr(lock, name)]
        rows = [
            ("queue", f"{len(self.queue)} items"),
            ("history", f"{len(self.history)} items"),
            ("running item", self._fate()),
            ("mode", f"loop {_on(state.mode.loop)}, ignore_failures {_on(state.mode.ignore_failures)}"),
            ("lock", f"{' and '.join(locked)}, by {lock.user}" if locked else "none"),
            ("permissions", f"{len(state.permissions.get('user_groups', {}))} groups, into {permissions}")
            if state.permissions
            else ("permissions", "none"),
            ("autostart", f"{_on(state.autostart)}; off after a start, as with the Queue Server"),
        ]
        if state.dropped:
            rows.append(("not taken", f"{state.dropped} items without a uid"))
        return "\n".join(f"  {name:<14}{what}" for name, what in rows)

    def _fate(self) -> str:
        running = self.state.running
        if running is None:
            return "none"
        is_first = bool(self.queue) and self.queue[0]["item_uid"] == running["item_uid"]
        return f"{running.get('name')}, {'to the front of the queue' if is_first else 'into the history as unknown'}"


async def take_over(takeover: Takeover, store: Store, *, replace: bool) -> bool:
    """Make our keys hold what is taken over.

    Returns:
        Whether something had to be changed.

    Raises:
        ConflictError: a queue service runs, a plan of ours runs, or there is something of ours already.
    """
    if await store.is_served():
        raise ConflictError("a queue service is running on these keys: stop it first")
    book = await store.load()
    if takeover.is_done(book, await store.history(0, None)):
        return False
    if book.running or book.tasks:
        raise ConflictError("a plan or a task of ours runs, or its report was not read yet: `skybus up` sorts that out")
    if not replace and (len(book.line) or book.history_size or book.lock.lock_key):
        raise ConflictError(
            f"there are {len(book.line)} items in our queue and {book.history_size} in our history already: "
            "--replace puts what is taken over in their place"
        )
    await store.take_over()
    takeover.fill(book)
    await store.commit(book.journal, book.revision)
    return True


async def run(settings: ImportSettings, options: argparse.Namespace) -> None:
    """Do it, or say what would be done."""
    state = await read_reference(settings.reference_redis_url.get_secret_value(), settings.reference_prefix)
    if state.is_empty:
        raise NotFoundError(f"no Queue Server has kept anything under the prefix {settings.reference_prefix!r} there")
    takeover = Takeover.made(state, running_to_front=options.running == "queue")
    print(visible(takeover.table(options.permissions), keep="\n"))
    if options.dry_run:
        print("nothing was changed")
        return
    store = Store.at(settings.redis(), settings.instrument or DEFAULT_INSTRUMENT, settings.redis_prefix)
    try:
        is_new = await take_over(takeover, store, replace=options.replace)
    finally:
        await store.close()
    if state.permissions:
        _write_permissions(state.permissions, options.permissions)
    print("taken over" if is_new else "it was taken over before; nothing was changed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line; ends with 1 and a sentence when it is refused."""
    try:
        asyncio.run(run(ImportSettings(), _parser().parse_args(arguments)))
    except SkybusError as error:
        sys.exit(f"nothing was taken over: {error.message}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skybus.queue.import_reference", description=__doc__)
    parser.add_argument("--running", choices=("history", "queue"), default="history")
    parser.add_argument("--permissions", type=Path, required=True)
    parser.add_argument("--replace", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    return parser


def _write_permissions(permissions: dict[str, object], path: Path) -> None:
    """JSON is YAML too: a file for `--user-group-permissions`."""
    path.with_suffix(".new").write_text(json.dumps(permissions, indent=2) + "\n")
    path.with_suffix(".new").replace(path)


def _lost(item: Item, begun: float | None) -> Item:
    now = time.time()
    result = {
        "exit_status": "unknown",
        "run_uids": [],
        "scan_ids": [],
        "time_start": begun or now,
        "time_stop": now,
        "msg": LOST,
        "traceback": "",
    }
    return {**item, "result": result}


def _same_lock(one: Lock, other: Lock) -> bool:
    shown = {"environment", "queue", "lock_key", "user", "note"}
    return one.model_dump(include=shown) == (other or NO_LOCK).model_dump(include=shown)


def _on(value: bool) -> str:
    return "on" if value else "off"


if __name__ == "__main__":
    main()
