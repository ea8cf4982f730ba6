"""The NATS server bounds what people and plan code may do: connections, subscriptions, bytes of a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from skybus.bus.api.items import ItemSpec
from skybus.bus.api.queue import ITEM_ADD, ItemAdd
from skybus.bus.connection import Bus
from skybus.bus.packing import PEOPLE_PAYLOAD
from skybus.bus.tasks import end_tasks
from skybus.stack import accounts
from skybus.stack.cluster import Machine, write_cluster
from tests.integration.bus_fixtures import canned_queue
from tests.promises import PATIENCE
from tests.servers import NatsServer


@pytest.fixture
async def small(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NatsServer]:
    """A server with limits that are soon reached."""
    monkeypatch.setattr(accounts, "PEOPLE_CONNECTIONS", 2)
    monkeypatch.setattr(accounts, "SUBSCRIPTIONS", 3)
    server = NatsServer(data_dir)
    await server.start()
    yield server
    server.stop()


async def lost_by(bus: Bus, deed: Callable[[Connection], Awaitable[None]]) -> None:
    """Do something with a connection, and wait until the server has ended it."""
    lost = asyncio.Event()
    bus.on_disconnect.append(lost.set)
    await deed(bus.connection)
    async with asyncio.timeout(PATIENCE):
        await lost.wait()


async def test_connections_of_people_are_bounded_and_services_are_not_concerned(small: NatsServer) -> None:
    async with small.bus("operator"), small.bus("operator"):
        third = small.make_bus("bridge")
        connecting = asyncio.create_task(third.run())
        async with asyncio.timeout(PATIENCE):
            while "maximum account active connections exceeded" not in third.why_not:
                await asyncio.sleep(0)
        async with small.bus("queue"), small.bus("environment"):
            pass
        await end_tasks([connecting])


async def test_subscriptions_of_one_connection_are_bounded_and_others_are_not_concerned(small: NatsServer) -> None:
    async def ignore(_: Msg) -> None:
        pass

    async def subscribe(connection: Connection) -> None:
        for number in range(4):
            await connection.subscribe(f"sky.sim.evt.topic{number}", cb=ignore)

    async with small.bus("operator") as greedy, small.bus("operator") as other:
        await lost_by(greedy, subscribe)
        await other.subscribe("sky.sim.evt.status", ignore)
        await other.settle()


async def test_a_message_of_people_has_a_megabyte_and_larger_requests_go_in_parts(nats: NatsServer) -> None:
    item = {"item_type": "plan", "name": "count", "meta": {"text": "x" * 2 * PEOPLE_PAYLOAD}}

    async def send_too_much(connection: Connection) -> None:
        await connection.publish("sky.sim.cmd.operator.queue.item.add", b"x" * (PEOPLE_PAYLOAD + 1))

    async with canned_queue(nats) as queue, nats.bus("operator") as theirs, nats.bus("operator") as ours:
        await lost_by(theirs, send_too_much)
        await ours.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(item)), timeout=PATIENCE)
        assert [added["meta"] for added in queue.items] == [item["meta"]]


def test_the_servers_of_a_cluster_have_the_same_limits(tmp_path: Path) -> None:
    folders = write_cluster(tmp_path / "cluster", "sim", [Machine(host) for host in "abc"])
    for folder in folders:
        assert f'"max_payload": {PEOPLE_PAYLOAD}' in (folder / "nats" / "nats.conf").read_text()
