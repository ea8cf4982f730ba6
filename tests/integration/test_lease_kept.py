"""A queue service leads for as long as its event loop lives, however busy that is."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

from skybus.bus.api.health import Lead, health_of
from skybus.bus.messages import Empty
from skybus.client.client import Client
from tests.integration.queue_fixtures import StandIns, client, house, queue_process, queue_service, until_said
from tests.promises import PATIENCE

__all__ = ["client", "house"]

TAKES_OVER = "this queue service takes over"
HANGS = """
import os, signal, time
from skybus.queue import lease
from skybus.queue.__main__ import main

def hang(*_):
    while not os.path.exists(os.environ["GOES_ON"]):
        time.sleep(0.01)

lease.LIVES = 0.5
signal.signal(signal.SIGUSR1, hang)
main()
"""


async def standby_waits(stack: AsyncExitStack, nats, valkey) -> Path:
    """Start a standby; returns its log."""
    await stack.enter_async_context(queue_process(nats, valkey, SKYBUS_QUEUE_NAME="standby"))
    log = nats.data_dir / "queue.log"
    await until_said(log, "this one waits")
    return log


async def test_a_leader_whose_event_loop_stands_still_for_two_seconds_still_leads(
    nats, valkey, house: StandIns, client: Client
) -> None:
    """Twice as long as the lease lasts; afterwards it answers at once, since it knows that it leads."""
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        await stack.enter_async_context(queue_service(nats, valkey))
        await client.wait("idle")
        log = await standby_waits(stack, nats, valkey)
        time.sleep(2)
        health = await client.call(health_of("queue"), Empty())
        assert health.lead == Lead(name="main", standby="standby")
        assert TAKES_OVER not in log.read_text()


async def test_a_leader_whose_event_loop_hangs_for_good_loses_its_lease(
    nats, valkey, house: StandIns, client: Client
) -> None:
    """Its thread ceases to renew the lease; when the event loop goes on, the service finds that it is fenced."""
    goes_on = nats.data_dir / "goes on"
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        leader = await stack.enter_async_context(queue_process(nats, valkey, program=HANGS, GOES_ON=goes_on))
        await client.wait("idle")
        log = await standby_waits(stack, nats, valkey)
        leader.send_signal(signal.SIGUSR1)
        await until_said(log, TAKES_OVER)
        goes_on.touch()
        assert await asyncio.to_thread(leader.wait) == 1
        health = await client.call(health_of("queue"), Empty())
        assert health.lead
        assert health.lead.name == "standby"
