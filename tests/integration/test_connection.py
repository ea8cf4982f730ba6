"""A lost connection is noticed and rebuilt, whatever nats-py makes of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from nats.aio.client import Client as Connection
from nats.js import JetStreamContext

from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import CATALOG_REFRESH, CATALOG_UIDS
from skybus.bus.connection import settle
from skybus.bus.ensuring import Ensured
from skybus.bus.messages import Empty
from skybus.bus.service import Handler, Service
from skybus.bus.streams import ensure_bucket
from skybus.bus.tasks import end_tasks
from tests.promises import PATIENCE
from tests.servers import NatsServer, running

LISTS = CatalogChanged(**dict.fromkeys(CatalogChanged.model_fields, "uid"))


async def test_a_connection_that_breaks_while_it_is_closed_is_rebuilt(nats: NatsServer) -> None:
    """As when the server dies with data on its way: writing fails, and writing the rest before closing fails, too."""
    bus = nats.make_bus("queue")
    lost = asyncio.Event()
    bus.on_disconnect.append(lost.set)
    async with running(bus), asyncio.timeout(PATIENCE):
        connection = bus.connection

        async def break_pipe() -> None:  # a stand-in for the socket: when a real one breaks is a matter of luck
            connection._pending.append(b"PING\r\n")
            connection._pending_data_size += 6
            raise BrokenPipeError

        connection._transport.drain = break_pipe
        await connection.publish("anything")
        await lost.wait()
        await bus.wait_connected()
        assert bus.connection is not connection
        await bus.settle()


async def test_a_request_that_comes_while_the_connection_is_set_up_is_answered_when_it_is(nats: NatsServer) -> None:
    """A service is on the bus as soon as its first endpoint is; what the handlers need may not be there yet."""
    asker, other, bus = nats.make_bus("queue"), nats.make_bus("worker"), nats.make_bus("auth")
    has_come, answers = asyncio.Event(), list[asyncio.Task[CatalogChanged]]()

    async def say_lists(_: Empty) -> CatalogChanged:
        return LISTS

    async def pass_on(_: Empty) -> CatalogChanged:
        return await bus.call(CATALOG_REFRESH, Empty())

    async def ask_now(connection: Connection) -> None:
        await settle(connection)
        answers.append(asyncio.create_task(asker.call(CATALOG_UIDS, Empty())))
        await asker.settle()
        await settle(connection)  # so it has come
        has_come.set()

    Service(other, "worker", [Handler(CATALOG_REFRESH, say_lists)])
    Service(bus, "auth", [Handler(CATALOG_UIDS, pass_on)])
    bus.on_connect.append(ask_now)
    async with running(asker), running(other), running(bus), asyncio.timeout(PATIENCE):
        await has_come.wait()
        assert await answers[0] == LISTS


async def test_who_subscribes_while_a_connection_ends_is_subscribed_on_the_next(nats: NatsServer) -> None:
    bus, again, came = nats.make_bus("queue"), asyncio.Event(), asyncio.Event()

    async def note(_: Connection) -> None:
        again.set()

    async def take(_: object) -> None:
        came.set()

    async with running(bus), asyncio.timeout(PATIENCE):
        first = bus.connection
        bus.on_connect.append(note)
        closing = asyncio.create_task(first.close())
        while not first.is_closed:
            await asyncio.sleep(0)
        assert bus.connection is first
        await bus.subscribe("anything", take)
        await again.wait()
        await bus.wait_connected()
        await closing
        await bus.settle()
        await bus.connection.publish("anything")
        await came.wait()


async def test_streams_that_were_there_are_not_waited_for_again(nats: NatsServer) -> None:
    """A cluster that has lost a server takes seconds to say anything of streams; services answer meanwhile."""
    bus, asked, answers = nats.make_bus("queue"), asyncio.Queue[None](), asyncio.Event()

    async def see_to_streams(_: JetStreamContext) -> None:
        asked.put_nowait(None)
        await answers.wait()

    Ensured(bus, see_to_streams)
    task = asyncio.create_task(bus.run())
    async with asyncio.timeout(PATIENCE):
        await asked.get()
        assert not bus.is_connected
        answers.set()
        await bus.wait_connected()
        answers.clear()  # as during an election
        nats.stop()
        await nats.start()
        await asked.get()
        await bus.wait_connected()
    await end_tasks([task])


async def test_a_bus_that_is_cancelled_while_it_connects_ends(nats: NatsServer) -> None:
    """A service that another one has replaced must end; nats-py loses cancellations while it connects."""
    for milliseconds in range(60):
        bus = nats.make_bus("queue")
        bus.on_connect.append(lambda connection: ensure_bucket(connection.jetstream(), "STATE_sim"))
        task = asyncio.create_task(bus.run())
        with suppress(TimeoutError):
            await asyncio.wait_for(bus.wait_connected(), milliseconds / 2000)  # at another moment each time
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=PATIENCE)
        assert not pending, f"it goes on when cancelled {milliseconds / 2} ms after its start"
