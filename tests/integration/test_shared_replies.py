"""What many ask for at once is made, written and stored once."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import Any

import pytest

from skybus.bus import blob
from skybus.bus.api.queue import QUEUE_GET, QueueGet, QueuePage
from skybus.bus.errors import InvalidError
from skybus.bus.service import Handler, Service
from skybus.bus.shared_replies import Shared, Sharing
from skybus.client.client import Client
from tests.integration.bus_fixtures import reconnected
from tests.integration.queue_fixtures import COUNT, client, house, queue_service
from tests.promises import PATIENCE
from tests.servers import running

__all__ = ["client", "house"]

CLIENTS = 8
ITEMS = [{"name": "count", "meta": {"text": f"{n} {'x' * 1000}"}} for n in range(5000)]
"""More than a message has room for."""


class Monitored:
    """Answers `queue.get` and counts how often it makes an answer."""

    def __init__(self, bus: Any) -> None:
        self.bus = bus
        self.asked = self.made = 0
        self.all_have_asked = threading.Event()
        """Until then nothing is made."""
        self.version = 1
        self.fails = False
        self._sharing = Sharing[QueuePage]()
        self.service = Service(bus, "queue", [Handler(QUEUE_GET, self.get)])

    async def get(self, request: QueueGet) -> Shared[QueuePage]:
        self.asked += 1
        if self.asked % CLIENTS == 0:
            self.all_have_asked.set()
        found = self._sharing.of(self.version, request.limit)
        return found or self._sharing.share(request.limit, lambda: self._make(request.limit), is_long=True)

    def _make(self, limit: int | None) -> QueuePage:
        self.all_have_asked.wait(PATIENCE)
        self.made += 1
        if self.fails:
            raise InvalidError("it cannot be made")
        return QueuePage(items=ITEMS[:limit], running_item={}, plan_queue_uid=str(self.version), qsize=len(ITEMS))


@pytest.fixture
async def monitored(nats):
    bus = nats.make_bus("queue")

    async def ensure(connection: Any) -> None:
        await blob.ensure(connection.jetstream(), bus.subjects.blob_bucket)

    bus.on_connect.append(ensure)
    queue = Monitored(bus)
    async with running(bus):
        yield queue
        await queue.service.give_up()


@pytest.fixture
async def clients(nats):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(nats.bus("operator")) for _ in range(CLIENTS)]


async def read(clients, limit: int | None) -> list[QueuePage]:
    """All of them ask at once."""
    request = QueueGet(limit=limit)
    return await asyncio.gather(*(each.call(QUEUE_GET, request, timeout=PATIENCE) for each in clients))


@pytest.mark.parametrize("limit", [1, None])
async def test_those_who_ask_at_once_get_one_answer_until_it_is_another(nats, monitored, clients, limit) -> None:
    async with asyncio.timeout(PATIENCE):
        pages = await read(clients, limit)
        assert [page.items for page in pages] == [ITEMS[:limit]] * CLIENTS
        assert [page.plan_queue_uid for page in await read(clients, limit)] == ["1"] * CLIENTS
        assert monitored.made == 1
        monitored.version = 2
        assert [page.plan_queue_uid for page in await read(clients, limit)] == ["2"] * CLIENTS
        assert monitored.made == 2


async def test_an_answer_is_made_again_for_another_server_which_does_not_have_it(nats, monitored, clients) -> None:
    async with asyncio.timeout(PATIENCE):
        await read(clients, None)
        async with reconnected(monitored.bus, *clients):
            nats.stop()
            await nats.start()
        assert {len(page.items) for page in await read(clients, None)} == {len(ITEMS)}
        assert monitored.made == 2


async def test_an_answer_that_cannot_be_made_is_refused_to_all_and_tried_again(nats, monitored, clients) -> None:
    monitored.fails = True
    request = QueueGet()
    async with asyncio.timeout(PATIENCE):
        calls = [each.call(QUEUE_GET, request, timeout=PATIENCE) for each in clients]
        refusals = await asyncio.gather(*calls, return_exceptions=True)
        assert {str(refusal) for refusal in refusals} == {"it cannot be made"}
        monitored.fails = False
        assert {len(page.items) for page in await read(clients, None)} == {len(ITEMS)}


async def test_the_queue_is_shown_as_it_is_after_each_change(nats, valkey, house, client: Client) -> None:
    """What is shared is never an earlier queue, item or state of what runs."""
    async with asyncio.timeout(PATIENCE), queue_service(nats, valkey):
        await client.wait("idle")
        added = await client.add_item(COUNT)
        for n in range(3):
            changed = {**COUNT, "item_uid": added["item_uid"], "kwargs": {"num": n}}
            await client.update_item(changed)
            page = await client.queue()
            assert page.items[0]["kwargs"] == {"num": n}
            assert page.plan_queue_uid == (await client.status()).plan_queue_uid
        await client.clear()
        assert (await client.queue()).items == []
