"""What the reference itself has written to Redis is taken over, by the command and by its parts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from benchmarks.reference_venv import ensure_venv
from skybus.bus.errors import ConflictError
from skybus.queue.import_reference import Takeover, take_over
from skybus.queue.reference_keys import read_reference
from skybus.queue.store import Store
from skybus.stack.servers import valkey_binary
from tests.promises import PATIENCE
from tests.servers import free_port, until_listening

PREFIX = "qs_site"


@dataclass
class ReferenceRedis:
    """A server with the reference's keys in it."""

    address: str
    client: Redis

    @property
    def url(self) -> str:
        return f"redis://{self.address}"

    async def fill(self, last: str) -> dict[str, Any]:
        """Let the reference work on its queue; returns what it says of it."""
        script = Path(__file__).with_name("reference_queue.py")
        process = await asyncio.create_subprocess_exec(
            str(ensure_venv() / "bin" / "python"), str(script), self.address, PREFIX, last,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(said)

    async def dump(self) -> dict[bytes, Any]:
        """All of the reference's keys, byte by byte."""
        keys = [key async for key in self.client.scan_iter(f"{PREFIX}_*")]
        return {key: await self.client.dump(key) for key in sorted(keys)}


@pytest.fixture
async def reference(data_dir: Path) -> AsyncIterator[ReferenceRedis]:
    port = free_port()
    process = subprocess.Popen(
        [valkey_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(data_dir)],
        stdout=subprocess.DEVNULL,
    )
    await until_listening(process, lambda: asyncio.open_connection("127.0.0.1", port))
    async with Redis(port=port) as client:
        yield ReferenceRedis(f"127.0.0.1:{port}", client)
    process.terminate()
    process.wait(PATIENCE)


@pytest.fixture
async def store(reference: ReferenceRedis) -> AsyncIterator[Store]:
    store = Store.at(reference.url, "sim", PREFIX)
    yield store
    await store.close()


def uids(items: list[dict[str, Any]]) -> list[str]:
    return [item["item_uid"] for item in items]


async def taken(reference: ReferenceRedis, *, running_to_front: bool = False) -> Takeover:
    return Takeover.made(await read_reference(reference.url, PREFIX), running_to_front=running_to_front)


async def test_queue_history_mode_and_lock_are_taken_over(reference: ReferenceRedis, store: Store) -> None:
    theirs = await reference.fill("nothing")
    before = await reference.dump()
    assert await take_over(await taken(reference), store, replace=False)
    book = await store.load()
    assert list(book.line) == theirs["queue"]
    assert await store.history(0, None) == theirs["history"]
    assert book.flags.mode.model_dump() == theirs["mode"]
    assert (book.lock.queue, book.lock.environment, book.lock.user, book.lock.note) == (True, False, "me", "mine")
    assert book.lock.opens_with("secret")
    assert not book.lock.opens_with("other")
    assert not book.flags.autostart
    assert await reference.dump() == before


async def test_it_is_done_once_and_replaces_ours_only_when_told(reference: ReferenceRedis, store: Store) -> None:
    await reference.fill("nothing")
    await take_over(await taken(reference), store, replace=False)
    assert not await take_over(await taken(reference), store, replace=False)
    await reference.fill("nothing")
    with pytest.raises(ConflictError, match="6 items in our queue"):
        await take_over(await taken(reference), store, replace=False)
    assert await take_over(await taken(reference), store, replace=True)
    assert len((await store.load()).line) == 12 - 2 + 2


async def test_an_item_that_was_running_goes_where_it_is_wanted(reference: ReferenceRedis, store: Store) -> None:
    theirs = await reference.fill("running")
    running = theirs["running"]["item_uid"]
    as_reference = await taken(reference)
    assert uids(as_reference.queue)[:-1] == uids(theirs["queue"])  # and once more at the back: loop mode
    assert as_reference.history[-1]["item_uid"] == running
    assert as_reference.history[-1]["result"]["exit_status"] == "unknown"
    assert "properties" not in as_reference.history[-1]
    to_front = await taken(reference, running_to_front=True)
    assert uids(to_front.queue) == [running, *uids(theirs["queue"])]
    assert uids(to_front.history) == uids(theirs["history"])


async def test_an_item_executed_past_the_queue_never_gets_into_it(reference: ReferenceRedis) -> None:
    theirs = await reference.fill("immediate")
    takeover = await taken(reference, running_to_front=True)
    assert uids(takeover.queue) == uids(theirs["queue"])
    assert takeover.history[-1]["item_uid"] == theirs["running"]["item_uid"]


async def test_nothing_is_taken_over_while_a_queue_service_runs(reference: ReferenceRedis, store: Store) -> None:
    await reference.fill("nothing")
    service = Store.at(reference.url, "sim", PREFIX, serves=True)
    await service.take_over()
    with pytest.raises(ConflictError, match="queue service is running"):
        await take_over(await taken(reference), store, replace=False)
    await service.close()
    assert await take_over(await taken(reference), store, replace=False)


@pytest.mark.timeout(240)
async def test_the_command_fills_a_data_directory_and_says_what_it_does(
    reference: ReferenceRedis, data_dir: Path
) -> None:
    await reference.fill("running")

    async def command(*words: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "skybus"), "import-queueserver", "--redis-addr", reference.address,
            "--redis-name-prefix", PREFIX, "--data-dir", str(data_dir / "sky"), *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    code, said = await command("--dry-run")
    assert (code, "nothing was changed" in said, "queue         6 items" in said) == (0, True, True), said
    code, said = await command()
    assert (code, "\ntaken over\n" in said) == (0, True), said
    assert "2 groups" in said
    permissions = json.loads((data_dir / "sky" / "user_group_permissions.imported.yaml").read_text())
    assert list(permissions["user_groups"]) == ["root", "primary"]
    code, said = await command()
    assert (code, "taken over before" in said) == (0, True), said
