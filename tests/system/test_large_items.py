"""Items and function calls of 20 MB through both doors, to their end, in a stack as users start it."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import zmq
import zmq.asyncio

from tests.system.stack import RunningStack, stack_up

pytestmark = pytest.mark.asyncio(loop_scope="module")

STARTUP = """
from bluesky import RunEngine
from bluesky.plan_stubs import null

RE = RunEngine({})


def take(values, n):
    assert len(values) == n
    yield from null()


def give(values):
    return values
"""
RANDOM = random.Random(13)
FLOATS = [RANDOM.random() for _ in range(1_000_000)]
"""20 MB as JSON."""
ITEM = {"item_type": "plan", "name": "take", "args": [FLOATS], "kwargs": {"n": len(FLOATS)}}
WHO = {"user": "visitor", "user_group": "primary"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack():
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        startup = Path(folder) / "startup"
        startup.mkdir()
        (startup / "00-plans.py").write_text(STARTUP)
        (startup / "user_group_permissions.yaml").write_text(PERMISSIONS)
        options = ("--startup-dir", str(startup))
        async with stack_up(Path(folder) / "data", *options) as stack, stack.client() as client:
            await client.open_environment()
            yield stack


PERMISSIONS = """
user_groups:
  root: {allowed_plans: [null], allowed_devices: [null], allowed_functions: [null]}
  primary: {allowed_plans: [null], allowed_devices: [null], allowed_functions: [":^give$"]}
"""


async def ask(stack: RunningStack, method: str, **params: Any) -> dict[str, Any]:
    """One request over 0MQ, however long it takes."""
    with zmq.asyncio.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(stack.control)
        await socket.send(json.dumps({"method": method, "params": params}).encode())
        reply = json.loads(await socket.recv())
    assert reply["success"], reply["msg"]
    return reply


async def test_a_large_item_added_over_nats_runs_to_its_end(stack: RunningStack) -> None:
    async with stack.client(request_timeout=120) as client:
        added = await client.add_item(ITEM)
        assert (await client.queue(max_item_bytes=1000)).items[0]["left_out"] == ["args"]
        await client.start()
        await client.wait("queue_drained")
        filed = (await client.history(limit=1)).items[0]
        assert (filed["item_uid"], filed["result"]["exit_status"]) == (added["item_uid"], "completed")
        assert filed["args"] == [FLOATS]
        await client.clear_history()


async def test_a_large_item_executed_over_0mq_runs_to_its_end(stack: RunningStack) -> None:
    async with stack.client() as client:
        await ask(stack, "queue_item_execute", item=ITEM, **WHO)
        await client.wait("queue_drained")
        (filed,) = (await ask(stack, "history_get"))["items"]
        assert (filed["args"], filed["result"]["exit_status"]) == ([FLOATS], "completed")
        await client.clear_history()


async def test_a_function_takes_and_returns_twenty_megabytes(stack: RunningStack) -> None:
    async with stack.client(request_timeout=120) as client:
        uid = await client.run_function("give", [FLOATS])
        assert await client.wait_task(uid) == FLOATS
        item = {"item_type": "function", "name": "give", "kwargs": {"values": FLOATS}}
        uid = (await ask(stack, "function_execute", item=item, **WHO))["task_uid"]
        await client.wait_task(uid)
        assert (await ask(stack, "task_result", task_uid=uid))["result"]["return_value"] == FLOATS


async def test_ten_thousand_plans_are_added_at_once(stack: RunningStack) -> None:
    plan = {"item_type": "plan", "name": "take", "args": [[1, 2, 3]], "kwargs": {"n": 3}, "meta": {"text": "x" * 500}}
    async with stack.client(request_timeout=120) as client:
        assert (await ask(stack, "queue_item_add_batch", items=[plan] * 10_000, **WHO))["qsize"] == 10_000
        assert len(await client.add_items([plan] * 10_000)) == 10_000
        await client.clear()
