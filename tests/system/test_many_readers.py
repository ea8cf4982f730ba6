"""Those who read a long queue at once are all answered, and do not unseat the queue service that leads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from skybus.bus.api.health import Lead, health_of
from skybus.bus.api.queue import QUEUE_GET, QueueGet
from skybus.bus.messages import Empty, encode
from skybus.client.client import Client
from tests.promises import PATIENCE
from tests.seed import SEED
from tests.system.stack import stack_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(30 * PATIENCE)]

ROUNDS = 3
PLAN = {"item_type": "plan", "name": "print_lines", "kwargs": {"n": 1, "delay": 0.1}}


def small_items() -> Iterator[list[dict[str, Any]]]:
    """50 000 items of 200 to 400 bytes, in batches."""
    for batch in range(10):
        yield [{**PLAN, "meta": {"sample": "x" * 200, "number": [batch, n]}} for n in range(5000)]


def large_items() -> Iterator[list[dict[str, Any]]]:
    """80 items of 2 MB, in batches: 156 MB."""
    seeded = random.Random(SEED)
    for _ in range(16):
        yield [{**PLAN, "meta": {"numbers": [seeded.random() for _ in range(100_000)]}} for _ in range(5)]


async def until_waiting(client: Client) -> Lead:
    async with asyncio.timeout(PATIENCE):
        while not (lead := (await client.call(health_of("queue"), Empty())).lead) or not lead.standby:
            await asyncio.sleep(0.1)
    return lead


@pytest.mark.parametrize(("readers", "batches"), [(30, small_items), (6, large_items)])
async def test_the_leader_keeps_its_lease_and_answers_all_who_read_a_long_queue_at_once(
    data_dir: Path, readers: int, batches: Any
) -> None:
    async with stack_up(data_dir, SKYBUS_STANDBY="true") as stack, AsyncExitStack() as clients:
        client = await clients.enter_async_context(stack.client())
        await client.open_environment()
        for batch in batches():
            await client.add_items(batch)
        all_readers = [await clients.enter_async_context(stack.client()) for _ in range(readers)]
        leads = await until_waiting(client)
        for _ in range(ROUNDS):
            await client.add("print_lines", n=1, delay=0.1)  # a change, after which all monitors read the queue
            request = encode(QueueGet())
            reading = [each.bus.call_bytes(QUEUE_GET, request, timeout=PATIENCE) for each in all_readers]
            bodies = await asyncio.gather(*reading)
            assert len(set(map(len, bodies))) == 1
            assert await until_waiting(client) == leads
