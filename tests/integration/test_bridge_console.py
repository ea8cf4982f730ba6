"""What 0MQ subscribers of the console read when clients of the reference change something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import zmq

from skybus.bridge.__main__ import serve
from skybus.bridge.settings import BridgeSettings
from skybus.bus.log_stream import publish_lines
from skybus.bus.logs import start_logging
from skybus.bus.tasks import end_tasks
from skybus.console.__main__ import serve as serve_console
from skybus.console.settings import ConsoleSettings
from tests.integration.bus_fixtures import canned_queue, service
from tests.servers import NatsServer, free_port

USER = {"user": "Ann Other", "user_group": "primary"}
PLAN = {"item_type": "plan", "name": "count", "args": [["det1"]]}


@dataclass
class Site:
    """A client that asks, and one that watches the console."""

    control: zmq.Socket
    console: zmq.Socket

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._ask, method, params)

    async def until(self, text: str) -> list[str]:
        """What is published, message by message, up to one with this text."""
        return await asyncio.to_thread(self._until, text)

    async def subscribe(self) -> None:
        """Ask until something is published: then the subscription holds."""
        while not await asyncio.to_thread(self.console.poll, 50):
            await self.ask("queue_get")

    def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.control.send_json({"method": method, "params": params})
        assert self.control.poll(10_000), "no reply"
        return json.loads(self.control.recv())

    def _until(self, text: str) -> list[str]:
        found: list[str] = []
        while not found or text not in found[-1]:
            assert self.console.poll(10_000), f"{text!r} was not published, but {found}"
            found.append(json.loads(self.console.recv_multipart()[1])["msg"])
        return found


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
async def site(nats: NatsServer, context: zmq.Context) -> AsyncIterator[Site]:
    start_logging("queue")
    addresses = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    settings = BridgeSettings(data_dir=nats.data_dir, zmq_control_addr=addresses[0], zmq_info_addr=addresses[1])
    async with (
        service(nats.make_bus("console"), serve_console, ConsoleSettings(data_dir=nats.data_dir)),
        canned_queue(nats) as queue,
        service(nats.make_bus("bridge"), serve, settings),
    ):
        publishing = asyncio.create_task(publish_lines(queue.bus, "queue"))
        site = Site(context.socket(zmq.REQ), context.socket(zmq.SUB))
        site.control.connect(addresses[0])
        site.console.connect(addresses[1])
        site.console.subscribe("QS_Console")
        await site.subscribe()
        yield site
        await end_tasks([publishing])


async def test_an_addition_is_announced_and_confirmed_in_the_words_that_tools_wait_for(site: Site):
    await site.ask("queue_item_add", item=PLAN, **USER)
    found = await site.until("Item added")
    begun, done = [
        next(text for text in found if words in text) for words in ("Adding new item to the queue", "Item added")
    ]
    assert begun != done
    assert found.index(begun) < found.index(done)
    assert "name=count" in done
    assert begun.endswith("\n")


async def test_who_reads_the_queue_sees_a_line_as_from_the_reference(site: Site):
    await site.ask("queue_get")
    await site.until("Returning current queue")


async def test_what_the_bridge_refuses_itself_leaves_a_line_too(site: Site):
    reply = await site.ask("queue_item_add", **USER)
    assert not reply["success"]
    found = await site.until("Item not added")
    assert "request contains no item info" in found[-1]


async def test_the_line_of_a_refusal_has_no_control_characters(site: Site):
    await site.ask("queue_item_add", item=PLAN, pos="front", **{"odd\x1b[2J": 1}, **USER)
    assert r"odd\x1b[2J" in (await site.until("Item not added"))[-1]
