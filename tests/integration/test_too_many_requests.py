"""Who has too much in hand is told when to come again, and everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from skybus.bus.api.items import ItemSpec
from skybus.bus.api.queue import ITEM_ADD, QUEUE_GET, ItemAdd, QueueGet
from skybus.bus.api.status import STATUS_GET
from skybus.bus.connection import Bus
from skybus.bus.errors import TooManyError
from skybus.bus.in_flight import Share
from skybus.bus.messages import Empty
from skybus.client.client import Client
from skybus.client.retries import GaveUpError
from tests.integration.bus_fixtures import CannedQueue
from tests.promises import PATIENCE
from tests.servers import NatsServer, running

COUNT = {"item_type": "plan", "name": "count"}
MOST = 16


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[CannedQueue]:
    """It holds `queue.get` until it is told to answer, and takes few requests of one user."""
    bus = nats.make_bus("queue")
    bus.share = Share(requests=MOST, bytes=1 << 20)
    queue = CannedQueue(bus)
    queue.slow = True
    async with running(bus):
        yield queue
        await queue.service.give_up()


@pytest.fixture
async def client(nats: NatsServer, queue: CannedQueue) -> AsyncIterator[Client]:
    async with Client.connect(data_dir=nats.data_dir, connect_timeout=PATIENCE) as client:
        yield client


async def fill(bus: Bus, queue: CannedQueue) -> list[asyncio.Task]:
    """Have as many requests of a user in hand as it takes."""
    held = [asyncio.create_task(bus.call(QUEUE_GET, QueueGet(), timeout=PATIENCE)) for _ in range(MOST)]
    while True:
        try:
            await bus.call(STATUS_GET, Empty(), timeout=PATIENCE)
        except TooManyError:
            return held


async def test_one_user_with_many_requests_is_refused_and_others_are_not(
    nats: NatsServer, queue: CannedQueue, client: Client
) -> None:
    held = await fill(client.bus, queue)
    with pytest.raises(TooManyError, match=f"'operator' has {MOST} requests .* come again in 1 s") as refused:
        await client.bus.call(STATUS_GET, Empty(), timeout=PATIENCE)
    assert refused.value.details["retry_after"] == 1
    async with nats.bus("bridge") as bridge:
        await bridge.call(STATUS_GET, Empty(), timeout=PATIENCE)
    queue.release.set()
    await asyncio.gather(*held)
    await client.bus.call(STATUS_GET, Empty(), timeout=PATIENCE)


async def test_the_client_comes_again_when_there_is_room(queue: CannedQueue, client: Client) -> None:
    held, waits = await fill(client.bus, queue), list[str]()

    def on_waiting(why: str) -> None:
        waits.append(why)
        queue.release.set()

    client.tell_waiting = on_waiting
    await client.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(COUNT)), timeout=PATIENCE)
    assert "come again in 1 s" in waits[0]
    assert len(queue.items) == 1
    await asyncio.gather(*held)


async def test_the_client_does_not_wait_beyond_its_time(queue: CannedQueue, client: Client) -> None:
    held = await fill(client.bus, queue)
    with pytest.raises(GaveUpError, match=r"come again in 1 s \(queue.item.add: it was not carried out\)") as gave_up:
        await client.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(COUNT)), timeout=0.5)
    assert gave_up.value.details["may_be_done"] is False
    queue.release.set()
    await asyncio.gather(*held)
    assert queue.items == []


async def test_bytes_in_flight_are_bounded_too(queue: CannedQueue, client: Client) -> None:
    """Requests that wait together have more bytes than one user may have; each alone does not."""
    large = ItemAdd(item=ItemSpec(item_type="plan", name="count", meta={"text": "x" * 200_000}))
    queue.swallows = 5
    held = [asyncio.create_task(client.bus.call(ITEM_ADD, large, timeout=PATIENCE)) for _ in range(5)]
    while len(queue.seen) < 5:
        await asyncio.sleep(0)
    with pytest.raises(TooManyError):
        await client.bus.call(ITEM_ADD, large, timeout=PATIENCE)
    await client.bus.call(STATUS_GET, Empty(), timeout=PATIENCE)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
