"""Redis comes back with an older file while a plan runs, and who has written it has died: nothing runs twice, and a
person is told."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from skybus.bus.api.status import Status
from skybus.bus.errors import ConflictError
from skybus.client.client import Client
from skybus.client.events import last_value
from tests.system.stack import RunningStack, stack_up


def set_back(stack: RunningStack, copy: Path | None) -> None:
    """Kill the server and who knows what it has lost, and have it find what was there before, or nothing."""
    stack.process.send_signal(signal.SIGSTOP)  # nobody starts it meanwhile
    valkey = stack.find("valkey")
    valkey.kill()
    stack.kill("queue")
    while valkey.status() != psutil.STATUS_ZOMBIE:  # its parent stands still
        time.sleep(0.005)
    shutil.rmtree(stack.data_dir / "valkey" / "appendonlydir")
    if copy:
        shutil.copytree(copy, stack.data_dir / "valkey" / "appendonlydir")
    stack.process.send_signal(signal.SIGCONT)


async def until_witnessed(client: Client, queue_uid: str) -> None:
    """Wait until JetStream knows how far the book is: it is told before the status is left there."""
    while not (kept := await last_value(client.bus, "status", Status)) or kept.plan_queue_uid != queue_uid:
        await asyncio.sleep(0.02)


async def lines_of(client: Client, item_uid: str) -> list[str]:
    return [chunk.text async for chunk in client.console(item_uid=item_uid, follow=False)]


@pytest.mark.parametrize("is_copy", [True, False], ids=["an older file", "nothing"])
async def test_nothing_runs_twice_when_redis_comes_back_with(data_dir: Path, tmp_path: Path, is_copy: bool) -> None:
    """The first plan has ended meanwhile, the second runs, the third waits: the copy has them all in the queue."""
    async with stack_up(data_dir) as stack, stack.client() as client:
        await client.open_environment()
        first = await client.add("print_lines", n=2)
        second = await client.add("slow_count", ["det"], num=1000, delay=0.1)
        third = await client.add("print_lines", n=3)
        await client.set_autostart(enable=False)
        shutil.copytree(stack.data_dir / "valkey" / "appendonlydir", tmp_path / "copy")
        environment = stack.pid_of("environment")
        await client.start()
        await client.wait(lambda status: status.items_in_history == 1 and status.re_state == "running")
        await client.add("print_lines", n=4)
        known = (await client.queue()).plan_queue_uid
        await until_witnessed(client, known)

        set_back(stack, tmp_path / "copy" if is_copy else None)
        status = await client.wait(lambda status: "stored queue" in status.unreachable)
        assert "Redis holds an older queue" in status.unreachable["stored queue"].why
        assert status.running_item_uid == second["item_uid"]
        assert status.queue_stop_pending
        with pytest.raises(ConflictError):
            await client.clear(expected_queue_uid=known)
        await client.pause()
        await client.wait("paused")
        await client.stop_plan()
        await client.wait("idle")
        waiting = [third] if is_copy else []
        assert [item["item_uid"] for item in (await client.queue()).items] == [item["item_uid"] for item in waiting]
        filed = (await client.history()).items
        ended = [first, second] if is_copy else [second]
        assert [item["item_uid"] for item in filed] == [item["item_uid"] for item in ended]
        assert len(filed[-1]["result"]["run_uids"]) == 1

        await client.add("print_lines", n=5)
        await client.start()
        status = await client.wait(lambda status: status.items_in_history == len(ended) + len(waiting) + 1)
        assert status.unreachable == {}
        assert stack.pid_of("environment") == environment
        assert "".join(await lines_of(client, first["item_uid"])).count("line 1 of") == 1
