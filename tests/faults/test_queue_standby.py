"""A second queue service takes over from one that was killed or stopped, and that one cannot write any more."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack, suppress

import pytest

from skybus.bus.api.items import ItemSpec
from skybus.bus.api.queue import ITEM_ADD, ItemAdd
from skybus.bus.errors import UnavailableError
from skybus.client.client import Client
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, opened, queue_process, until_said
from tests.promises import PATIENCE, within

__all__ = ["client", "house"]


async def until_answered(client: Client) -> float:
    begin = time.monotonic()
    while True:
        with suppress(UnavailableError):
            await client.bus.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(COUNT)), timeout=0.2, request_id="1")
            return time.monotonic() - begin


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@within(2)
async def test_a_standby_takes_over(nats, valkey, house: StandIns, client: Client, number: int, limit: float) -> None:
    """With the plan that runs; what the first one had begun to do comes to nothing."""
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        first = await stack.enter_async_context(queue_process(nats, valkey))
        await opened(house, client)
        await stack.enter_async_context(queue_process(nats, valkey, SKYBUS_QUEUE_NAME="standby"))
        await until_said(nats.data_dir / "queue.log", "this one waits")
        await client.add_items([COUNT, COUNT])
        await client.start()
        order = await house.orders.get()

        first.send_signal(number)
        assert await until_answered(client) < limit
        status = await client.status()
        assert (status.manager_state, status.items_in_queue) == ("executing_queue", 2)
        await house.finished(order)
        following = await house.orders.get()
        while following.attempt == order.attempt:  # the standby has ordered it again
            following = await house.orders.get()

        if number == signal.SIGSTOP:
            first.send_signal(signal.SIGCONT)
            assert await asyncio.to_thread(first.wait) == 1
        for _ in range(20):
            await client.add_item(COUNT)
        await client.stop()
        await house.finished(following)
        status = await client.wait("idle")
        assert (status.items_in_queue, status.items_in_history) == (21, 2)
