"""`skybus backup` and `skybus restore` on a running queue service; worker, environment and auth are stand-ins."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from skybus.bus.api.backup import (
    RESTORE_ADD,
    RESTORE_BEGIN,
    RESTORE_FINISH,
    RestoreAdd,
    RestoreBegin,
    RestoreFinish,
)
from skybus.bus.api.items import Item
from skybus.bus.api.lock import LOCK, LockSet
from skybus.bus.errors import ConflictError, DeniedError, InvalidError, LockedError, WrongStateError
from skybus.bus.tasks import end_tasks
from skybus.cli.backup_commands import Part, backup, restore
from skybus.cli.backup_file import Backup
from skybus.cli.output import Output
from skybus.client.backups import Contents
from skybus.client.client import Client
from tests.integration.queue_fixtures import StandIns, client, house, opened, queue_process, queue_service, until_said
from tests.servers import NatsServer, Valkey

__all__ = ["client", "house"]

OUT = Output(as_json=True)


def plan(number: int) -> Item:
    return {"item_type": "plan", "name": "count", "kwargs": {"num": number}}


def run(number: int) -> Item:
    """As it is in the history."""
    return {**plan(number), "result": {"exit_status": "completed", "time_start": 1.0, "time_stop": 2.0}}


def numbers(items: list[Item]) -> list[int]:
    return [item["kwargs"]["num"] for item in items]


async def skybus(nats: NatsServer, *words: str, given: bytes = b"") -> tuple[int, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "skybus"),
        *words,
        env={**os.environ, "SKYBUS_DATA_DIR": str(nats.data_dir), "TERM": "dumb"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate(given)
    assert process.returncode is not None
    return process.returncode, out, errors.decode()


async def what_there_is(client: Client) -> tuple[list[Item], list[Item], dict]:
    mode = (await client.take_picture()).mode.model_dump()
    return (await client.queue()).items, (await client.history()).items, mode


async def fill(house: StandIns, client: Client, done: int, waiting: int) -> None:
    """Items that have run and items that wait, numbered in this order."""
    await opened(house, client)
    await client.add_items([plan(number) for number in range(done + waiting)])
    await client.start()
    for number in range(done):
        order = await house.orders.get()
        if number == done - 1:
            await client.stop()
        await house.finished(order)
    await client.wait(lambda status: status.items_in_history == done and status.manager_state == "idle")


async def end_plans(house: StandIns) -> None:
    while True:
        await house.finished(await house.orders.get())


async def test_a_backup_is_one_moment_of_a_queue_that_runs_and_is_added_to(nats, valkey, house, client) -> None:
    async def add(first: int) -> None:
        for number in range(first, first + 10_000):
            await client.add_item(plan(number))

    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_items([plan(number) for number in range(1000)])
        await client.start()
        busy = [asyncio.create_task(end_plans(house)), asyncio.create_task(add(1000))]
        await client.wait(lambda status: status.items_in_history >= 300)
        done = []
        for name in ("a", "b", "c"):
            await backup(client, OUT, nats.data_dir / name)
            done.append(len(moment := all_items(nats.data_dir / name)))
            assert numbers(moment) == list(range(len(moment)))
        assert 1000 < done[0] < done[1] < done[2]
        await end_tasks(busy)


def all_items(file: Path) -> list[Item]:
    """What has run, what runs, what waits."""
    contents, parts = read(file)
    running = [contents.running_item] if contents.running_item else []
    done = [item for _, history in parts for item in history]
    return done + running + [item for queue, _ in parts for item in queue]


@pytest.fixture
async def empty_valkey(data_dir: Path) -> AsyncIterator[Valkey]:
    (data_dir / "other").mkdir()
    server = Valkey(data_dir / "other")
    await server.start()
    yield server
    server.stop()


async def test_what_was_backed_up_is_put_into_an_empty_stack(nats, valkey, empty_valkey, house, client) -> None:
    file = nats.data_dir / "backup.jsonl"
    async with queue_service(nats, valkey):
        await fill(house, client, done=4, waiting=3)
        await client.set_mode({"loop": True})
        before, uid = await what_there_is(client), (await client.status()).plan_queue_uid
        code, out, errors = await skybus(nats, "backup", "-")
        assert (code, errors) == (0, "")
        await backup(client, OUT, file)
        assert out.splitlines()[1:-1] == file.read_bytes().splitlines()[1:-1]
        with pytest.raises(ConflictError, match="--force"):
            await backup(client, OUT, file)
        await backup(client, OUT, file, force=True)
    async with queue_service(nats, empty_valkey):
        await client.wait("idle")
        code, said, errors = await skybus(nats, "restore", "-", given=out)
        assert (code, errors) == (0, "")
        assert said.startswith(b"3 items of the queue and 4 of the history")
        assert await what_there_is(client) == before
        assert (await client.status()).plan_queue_uid != uid
    async with queue_service(nats, empty_valkey):  # it is in Redis
        await client.wait("idle")
        assert await what_there_is(client) == before


async def test_a_plan_that_was_running_has_failed_and_is_to_be_run_again(nats, valkey, house, client) -> None:
    file = nats.data_dir / "backup.jsonl"
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.set_autostart(enable=True)
        await client.add_items([plan(0), plan(1)])
        order = await house.orders.get()
        await backup(client, OUT, file)
        await client.set_autostart(enable=False)
        await client.stop()
        await house.finished(order)
        await client.wait("idle")
        await restore(client, OUT, file, replace=True)
        queue, (lost,), _ = await what_there_is(client)
        assert numbers(queue) == [0, 1]
        assert (lost["item_uid"], lost["result"]["exit_status"]) == (order.item["item_uid"], "failed")
        assert "running when the backup was made" in lost["result"]["msg"]
        assert queue[0]["item_uid"] != lost["item_uid"]
        status = await client.status()
        assert (status.manager_state, status.queue_autostart_enabled) == ("idle", False)


async def test_what_is_replaced_is_kept_beside_the_file(nats, valkey, house, client, capsys) -> None:
    file = nats.data_dir / "backup.jsonl"
    async with queue_service(nats, valkey):
        await fill(house, client, done=1, waiting=1)
        await backup(client, OUT, file)
        await client.add_item(plan(2))
        before = await what_there_is(client)
        with pytest.raises(ConflictError, match="2 items in the queue and 1 in the history"):
            await restore(client, OUT, file)
        assert await what_there_is(client) == before
        await restore(client, OUT, file, replace=True)
        (kept,) = nats.data_dir.glob("before-restore-*.jsonl")
        assert str(kept) in capsys.readouterr().out
        assert numbers((await client.queue()).items) == [1]
        await restore(client, OUT, kept, replace=True)
        assert await what_there_is(client) == before


async def test_a_restore_is_refused_where_it_would_do_harm(nats, valkey, house, client) -> None:
    file = nats.data_dir / "backup.jsonl"
    async with queue_service(nats, valkey):
        await opened(house, client)
        await backup(client, OUT, file)
        house.refuses_root = DeniedError("only root")
        with pytest.raises(DeniedError):
            await restore(client, OUT, file)
        house.refuses_root = None
        await client.call(LOCK, LockSet(queue=True, lock_key="the key"))
        with pytest.raises(LockedError):
            await restore(client, OUT, file)
        await restore(client, OUT, file, lock_key="the key")
        await client.execute("count")
        with pytest.raises(WrongStateError, match="executing_queue"):
            await restore(client, OUT, file, lock_key="the key")


async def test_what_has_changed_since_it_was_seen_is_not_replaced(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        seen = await client.take_picture()
        filed = {**plan(0), "item_uid": "a", "result": {"time_start": 1, "time_stop": 2}}
        begun = await client.call(RESTORE_BEGIN, RestoreBegin(replace=True))
        await client.call(RESTORE_ADD, RestoreAdd(restore_id=begun.restore_id, history=[filed]))
        await client.add_item(plan(1))
        request = RestoreFinish(
            restore_id=begun.restore_id,
            items_in_queue=0,
            items_in_history=1,
            expected_queue_uid=seen.plan_queue_uid,
        )
        with pytest.raises(ConflictError, match="changed since"):
            await client.call(RESTORE_FINISH, request)
        assert numbers((await client.queue()).items) == [1]


async def test_a_history_that_is_cleared_meanwhile_is_read_anew(nats, valkey, house, client, monkeypatch) -> None:
    async with queue_service(nats, valkey):
        await fill(house, client, done=3, waiting=1)
        read = client.picture_pages
        pages = iter([client.clear_history(keep=1)])

        async def cleared_in_between(picture, part):
            if part == "history":
                for clearing in pages:
                    await clearing
            async for page in read(picture, part):
                yield page

        monkeypatch.setattr(client, "picture_pages", cleared_in_between)
        await backup(client, OUT, nats.data_dir / "file")
        assert numbers(all_items(nats.data_dir / "file")) == [2, 3]


async def test_items_that_cannot_be_in_queue_or_history_are_refused(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        begun = await client.call(RESTORE_BEGIN, RestoreBegin())
        item = {**plan(0), "item_uid": "a"}
        for queue in ([plan(0)], [item, item], [{**item, "item_type": "function"}], [{**item, "name": None}]):
            with pytest.raises(InvalidError):
                await client.call(RESTORE_ADD, RestoreAdd(restore_id=begun.restore_id, queue=queue))
        for filed in ({"result": {"time_start": 1, "time_stop": 2}}, item, {**item, "result": {"time_start": 1}}):
            with pytest.raises(InvalidError):
                await client.call(RESTORE_ADD, RestoreAdd(restore_id=begun.restore_id, history=[filed]))
        added = await client.call(RESTORE_ADD, RestoreAdd(restore_id=begun.restore_id, queue=[item]))
        assert added.items_in_queue == 1
        request = RestoreFinish(restore_id=begun.restore_id, items_in_queue=2, items_in_history=0)
        with pytest.raises(InvalidError, match="of 2 and 0 items"):
            await client.call(RESTORE_FINISH, request)
        for ran in (item, {**plan(1), "properties": "none"}, {**plan(1), "properties": {"time_start": "now"}}):
            request = RestoreFinish(
                restore_id=begun.restore_id, items_in_queue=1, items_in_history=0, running_item={"item_uid": "b", **ran}
            )
            with pytest.raises(InvalidError, match=r"'a'|properties"):
                await client.call(RESTORE_FINISH, request)


def read(file: Path) -> tuple[Contents, list[Part]]:
    with file.open("rb") as source:
        kept = Backup(source, "sim")
        return kept.contents, list(kept.parts())


HEADER = {
    "version": 1,
    "instrument": "sim",
    "time": 0,
    "mode": {},
    "items_in_queue": 2,
    "items_in_history": 1,
    "plan_queue_uid": "q",
    "plan_history_uid": "h",
}
LINES = [{"backup": HEADER}, {"queue": plan(1)}, {"queue": plan(2)}, {"history": plan(0)}]


def written(lines: list[dict]) -> bytes:
    """As any program can write it."""
    text = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    end = {"lines": len(lines), "sha256": hashlib.sha256(text).hexdigest()}
    return text + orjson.dumps({"end": end}) + b"\n"


GOOD = written(LINES)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no backup of skybus"),
        (b"not JSON\n", "no backup of skybus"),
        (GOOD[:-100], "damaged: line 4 is not"),
        (GOOD[: GOOD.index(b'{"end"')], "not complete"),
        (GOOD.replace(b'"num":2', b'"num":3'), "damaged: its lines"),
        (GOOD.replace(b'{"queue"', b'{"quoue"', 1), "damaged: line 2 is not"),
        (b"".join(GOOD.splitlines(keepends=True)[:2] + GOOD.splitlines(keepends=True)[3:]), "damaged: its lines"),
        (GOOD + b"{}\n", "behind its last line"),
        (written(LINES[:-1]), "damaged: its lines"),
        (written([{"backup": {**HEADER, "version": 2}}, *LINES[1:]]), "format 2"),
        (written([{"backup": {**HEADER, "instrument": "srx"}}, *LINES[1:]]), "instrument 'srx'"),
    ],
)
def test_a_file_that_is_not_whole_or_of_another_origin_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        Backup(io.BytesIO(data), "sim")


def test_another_origin_can_be_meant() -> None:
    other = written([{"backup": {**HEADER, "version": 2, "instrument": "srx"}}, *LINES[1:]])
    kept = Backup(io.BytesIO(other), "sim", any_origin=True)
    assert list(kept.parts()) == list(Backup(io.BytesIO(GOOD), "sim").parts()) == [([plan(1), plan(2)], [plan(0)])]


@pytest.mark.parametrize("has_standby", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_a_hundred_thousand_items_of_each_are_kept_and_put_back(nats, valkey, house, client, has_standby) -> None:
    """Nobody else notices: the queue service answers meanwhile, and keeps its lease."""
    log = nats.data_dir / "queue.log"
    file, again = nats.data_dir / "file", nats.data_dir / "again"
    queue = [{"queue": {**plan(number), "item_uid": f"q{number}"}} for number in range(100_000)]
    history = [{"history": {**run(number), "item_uid": f"h{number}"}} for number in range(100_000)]
    header = {**HEADER, "items_in_queue": 100_000, "items_in_history": 100_000}
    file.write_bytes(written([{"backup": header}, *queue, *history]))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(queue_process(nats, valkey))
        await client.wait("idle")
        if has_standby:
            await stack.enter_async_context(queue_process(nats, valkey, SKYBUS_QUEUE_NAME="standby"))
            await until_said(log, "this one waits")
        await restore(client, OUT, file)
        await backup(client, OUT, again)
        assert file.read_bytes().splitlines()[1:-1] == again.read_bytes().splitlines()[1:-1]
    assert "takes over" not in log.read_text()
