"""A service says how late its event loop was, and what kept it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from skybus.bus.api.health import health_of
from skybus.bus.api.status import PING, Status
from skybus.bus.loop_delay import EVERY, LATE
from skybus.bus.messages import Empty
from skybus.bus.service import Handler, Service
from skybus.bus.tasks import end_tasks
from tests.integration.bus_fixtures import STATUS
from tests.promises import PATIENCE
from tests.servers import running

BLOCKED = 2 * (EVERY + LATE)
"""Seconds."""


async def compute_for_long(_: Any) -> Status:
    time.sleep(BLOCKED)
    return STATUS


@pytest.fixture
async def bus(nats):
    """The bus of a service whose handler of `ping` does not yield."""
    bus = nats.make_bus("queue")
    service = Service(bus, "queue", [Handler(PING, compute_for_long)], missing=dict)
    async with running(bus):
        measuring = asyncio.create_task(bus.loop_delay.run())
        yield bus
        await end_tasks([measuring])
        await service.give_up()


async def test_health_has_the_largest_delay_and_the_log_what_the_event_loop_was_doing(nats, bus) -> None:
    async with asyncio.timeout(PATIENCE), nats.bus("operator") as client:
        with capture_logs() as logs:
            await client.call(PING, Empty(), timeout=PATIENCE)
            while (await client.call(health_of("queue"), Empty())).loop_delay < BLOCKED - EVERY:
                await asyncio.sleep(EVERY)  # until it is measured
    late = [line for line in logs if line["event"] == "the event loop was late"]
    assert any("compute_for_long" in line["doing"] and line["seconds"] > LATE for line in late)
