"""`skybus up --standby`: a second queue service that waits, takes over, and is missed."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from skybus.bus.api.health import Lead, health_of
from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Empty
from skybus.client.client import Client
from tests.promises import PATIENCE, within
from tests.system.stack import RunningStack, processes_of, run_doctor, stack_up


async def lead(client: Client) -> Lead:
    """Who leads; who is stopped does not answer, so it is asked again."""
    while True:
        with suppress(UnavailableError):
            health = await client.call(health_of("queue"), Empty(), timeout=0.2)
            assert health.lead
            return health.lead


async def doctor(stack: RunningStack) -> dict[str, str]:
    """What it says of each part."""
    _, findings = await run_doctor(stack)
    return {finding["part"]: finding["what"] for finding in findings}


async def until_waiting(client: Client) -> Lead:
    """Wait until somebody waits to take over."""
    async with asyncio.timeout(PATIENCE):
        while not (now := await lead(client)).standby:
            await asyncio.sleep(0.05)  # who leads looks three times a second
    return now


@within(5)
async def test_the_standby_takes_over_from_who_is_stopped_and_is_missed_when_it_hangs(
    data_dir: Path, limit: float
) -> None:
    """All of it stops within the limit."""
    async with stack_up(data_dir, SKYBUS_STANDBY="true") as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        await client.open_environment()
        await client.add("print_lines", n=40, delay=0.1)
        await client.start()
        first = await until_waiting(client)
        assert (await doctor(stack))["queue"] == f"answers: {first.name} leads, {first.standby} waits"

        leading = stack.find("queue")
        leading.send_signal(signal.SIGSTOP)
        assert (await lead(client)).name == first.standby
        leading.send_signal(signal.SIGCONT)
        now = await until_waiting(client)  # a machine that is busy may give the lead back
        assert {now.name, now.standby} == {first.name, first.standby}
        with pytest.raises(psutil.NoSuchProcess):
            leading.status()

        waiting = stack.find(now.standby)
        waiting.send_signal(signal.SIGSTOP)
        await client.wait(lambda status: "standby" in status.unreachable)
        assert "standby" in await doctor(stack)
        waiting.send_signal(signal.SIGCONT)
        status = await client.wait(lambda status: not status.unreachable and status.items_in_history == 1)
        assert status.manager_state == "idle"

        begin = time.monotonic()
        assert await stack.stop(signal.SIGINT) == 0
        assert time.monotonic() - begin < limit
        assert processes_of(data_dir) == []
