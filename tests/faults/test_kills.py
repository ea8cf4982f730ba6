"""SIGKILL of each part while a plan runs: the plan goes on, is in history once, and the next plan starts."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from skybus.bus.api.events import ItemChanged
from skybus.client.client import Client
from tests.promises import PATIENCE, within
from tests.system.stack import RunningStack, lines, lines_of, stack_up


@pytest.fixture
async def stack(data_dir: Path):
    async with stack_up(data_dir) as stack, stack.client() as client:
        await client.open_environment()
        yield stack


async def until_running(client: Client, item_uid: str) -> None:
    async with aclosing(client.events(f"item.{item_uid}")) as events:
        started = asyncio.create_task(client.start())
        async for event in events:
            if event.read(ItemChanged).state == "running":
                await started
                return


@pytest.mark.parametrize("part", ["queue", "worker", "auth", "console", "bridge"])
async def test_a_plan_survives_the_death_of_a_service(stack: RunningStack, part: str) -> None:
    async with stack.client() as client, asyncio.timeout(PATIENCE):
        first = await client.add("print_lines", n=30, delay=0.05)
        second = await client.add("print_lines", n=2)
        await until_running(client, first["item_uid"])
        victim, environment = stack.find(part), stack.pid_of("environment")
        victim.kill()
        await client.wait(lambda status: status.items_in_history == 2)

        done = (await client.history()).items
        assert [item["item_uid"] for item in done] == [first["item_uid"], second["item_uid"]]
        assert [item["result"]["exit_status"] for item in done] == ["completed", "completed"]
        assert stack.pid_of("environment") == environment
        assert await lines_of(client, first["item_uid"], 30) == lines(30)
        assert stack.pid_of(part) != victim.pid


async def test_the_queue_goes_on_with_a_plan_that_ended_while_its_service_was_away(stack: RunningStack) -> None:
    async with stack.client() as client, asyncio.timeout(PATIENCE):
        first = await client.add("count", ["det"], num=5, delay=0.1)
        await client.add("print_lines", n=2)
        async with aclosing(client.events("doc.stop.*")) as ends:
            ended = asyncio.create_task(anext(ends))
            await until_running(client, first["item_uid"])
            stack.process.send_signal(signal.SIGSTOP)  # nobody starts the queue service again
            stack.kill("queue")
            await ended
        stack.process.send_signal(signal.SIGCONT)
        await client.wait(lambda status: status.items_in_history == 2)
        done = (await client.history()).items
        assert [item["result"]["exit_status"] for item in done] == ["completed", "completed"]
        assert done[0]["item_uid"] == first["item_uid"]


@within(1)
async def test_the_death_of_the_environment_is_filed(stack: RunningStack, limit: float) -> None:
    async with stack.client() as client, asyncio.timeout(PATIENCE):
        lost = await client.add("slow_count", ["det"], num=100, delay=0.1)
        await until_running(client, lost["item_uid"])
        killed = time.time()
        stack.kill("environment")
        status = await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        assert not status.worker_environment_exists
        (item,) = (await client.history()).items
        assert item["result"]["time_stop"] - killed < limit
        assert item["result"]["exit_status"] == "failed"
        assert "SIGKILL" in item["result"]["msg"]
        front = (await client.queue()).items[0]
        assert (front["name"], front["item_uid"] == lost["item_uid"]) == ("slow_count", False)

        await client.open_environment()
        await client.clear()
        await client.add("count", ["det"])
        await client.start()
        await client.wait(lambda status: status.items_in_history == 2)


async def test_who_joins_late_reads_the_whole_output_of_a_plan(stack: RunningStack) -> None:
    """In order, nothing missing, although the console service was killed meanwhile."""
    async with stack.client() as client, asyncio.timeout(PATIENCE):
        item = await client.add("print_lines", n=2000, delay=0.001)
        await until_running(client, item["item_uid"])
        stack.kill("console")
        await client.wait("queue_drained")
    async with stack.client() as late, asyncio.timeout(PATIENCE):
        assert await lines_of(late, item["item_uid"], 2000) == lines(2000)


async def test_a_plan_survives_the_death_of_the_nats_server(stack: RunningStack) -> None:
    """Output, documents and the report arrive later, in order."""
    async with stack.client() as client, asyncio.timeout(PATIENCE):
        first = await client.add("print_lines", n=40, delay=0.05)
        await client.add("count", ["det"])
        await until_running(client, first["item_uid"])
        stack.kill("nats")
        await client.wait(lambda status: status.items_in_history == 2)
        assert await lines_of(client, first["item_uid"], 40) == lines(40)
        statuses = [item["result"]["exit_status"] for item in (await client.history()).items]
        assert statuses == ["completed", "completed"]
