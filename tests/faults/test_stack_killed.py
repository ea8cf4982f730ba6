"""`skybus up` is killed, alone or with everything that it has started: what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from skybus.bus.api.items import Item
from skybus.bus.api.lock import LOCK, UNLOCK, LockSet, Unlock
from skybus.bus.api.permissions import PERMISSIONS_GET, PERMISSIONS_SET, PermissionsSet
from skybus.bus.errors import LockedError
from skybus.bus.messages import Empty
from tests.promises import PATIENCE
from tests.system.stack import RunningStack, kill_processes_of, lines, lines_of, second_up, stack_up


async def test_after_kill_9_the_next_up_takes_the_running_plan_back(data_dir: Path) -> None:
    async with stack_up(data_dir) as stack:
        async with stack.client() as client:
            await client.open_environment()
            await client.add("print_lines", n=60, delay=0.1)
            await client.start()
            await client.wait(lambda status: status.re_state == "running")
        environment = stack.pid_of("environment")
        stack.process.kill()
        await stack.process.wait()
        async with second_up(data_dir), stack.client() as client, asyncio.timeout(PATIENCE):
            await client.wait(lambda status: status.items_in_history == 1)
            assert stack.pid_of("environment") == environment
            (item,) = (await client.history()).items
            assert item["result"]["exit_status"] == "completed"
            assert await lines_of(client, item["item_uid"], 60) == lines(60)


async def test_after_kill_9_of_everything_at_once_all_is_there_that_was_acknowledged(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NATS and Valkey as well: queue, history, lock, console, and permissions unless each start reads their file."""
    monkeypatch.setenv("SKYBUS_USER_GROUP_PERMISSIONS_RELOAD", "ON_REQUEST")
    async with stack_up(data_dir) as stack:
        async with stack.client() as client:
            await client.open_environment()
            done = await client.add("print_lines", n=3)
            await client.start()
            await client.wait("queue_drained")
            lost = await client.add("slow_count", ["det"], num=1000, delay=0.1)
            await client.start()
            await client.wait(lambda status: status.re_state == "running")
            waiting = await client.add("print_lines", n=2)
            permissions = (await client.call(PERMISSIONS_GET, Empty())).user_group_permissions
            permissions["user_groups"]["root"]["forbidden_plans"] = ["^count$"]
            await client.call(PERMISSIONS_SET, PermissionsSet(user_group_permissions=permissions))
            await client.call(LOCK, LockSet(lock_key="the key", queue=True))
        kill_processes_of(data_dir)
        await stack.process.wait()
        async with second_up(data_dir), stack.client() as client, asyncio.timeout(PATIENCE):
            await client.wait(lambda status: status.items_in_history == 2 and status.manager_state == "idle")
            history = [(item["item_uid"], item["result"]["exit_status"]) for item in (await client.history()).items]
            assert history == [(done["item_uid"], "completed"), (lost["item_uid"], "failed")]
            again, last = (await client.queue()).items
            assert (again["name"], last["item_uid"]) == ("slow_count", waiting["item_uid"])
            with pytest.raises(LockedError):
                await client.clear()
            await client.call(UNLOCK, Unlock(lock_key="the key"))
            assert (await client.call(PERMISSIONS_GET, Empty())).user_group_permissions == permissions
            assert await lines_of(client, done["item_uid"], 3) == lines(3)


async def test_a_dead_process_is_started_again(data_dir: Path) -> None:
    async with stack_up(data_dir) as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        before = stack.find("queue")
        before.kill()
        await client.wait(lambda status: status.manager_state == "initializing")
        await client.wait(lambda status: status.manager_state == "idle")
        assert stack.pid_of("queue") != before.pid


async def test_a_plan_that_ran_when_the_machine_died_has_failed(data_dir: Path) -> None:
    async with stack_up(data_dir) as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        await client.open_environment()
        await client.set_mode({"loop": True})
        await client.set_autostart(enable=True)
        await client.add_items([plan("slow_count", ["det"], num=1000), plan("count", ["det"])])
        running = (await client.wait("running")).running_item_uid
        kill_all(stack)
    async with stack_up(data_dir) as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        status = await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        (lost,) = (await client.history()).items
        assert (lost["item_uid"], lost["result"]["exit_status"]) == (running, "failed")
        assert [item["name"] for item in (await client.queue()).items] == ["slow_count", "count"]
        assert (status.plan_queue_mode.loop, status.queue_autostart_enabled) == (True, False)


def plan(name: str, *args: Any, **kwargs: Any) -> Item:
    return {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}


def kill_all(stack: RunningStack) -> None:
    """As when the machine dies."""
    stack.process.kill()
    kill_processes_of(stack.data_dir)
