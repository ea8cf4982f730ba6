"""A lost connection is noticed and rebuilt, whatever nats-py makes of it."""

from __future__ import annotations

import asyncio

from tests.servers import NatsServer, running


async def test_a_connection_that_breaks_while_it_is_closed_is_rebuilt(nats: NatsServer) -> None:
    """As when the server dies with data on its way: writing fails, and writing the rest before closing fails, too."""
    bus = nats.make_bus("queue")
    lost = asyncio.Event()
    bus.on_disconnect.append(lost.set)
    async with running(bus), asyncio.timeout(20):
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
        await bus.connection.flush()
