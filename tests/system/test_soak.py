"""Hours of plans and of clients that watch: nothing grows."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, aclosing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from tests.system.gauges import SERVICES, Gauges, Growth
from tests.system.stack import RunningStack, stack_up

SECONDS = float(os.environ.get("SKYBUS_SOAK_SECONDS", "3600"))
WARM_UP = float(os.environ.get("SKYBUS_SOAK_WARM_UP", "600"))
"""Seconds after which nothing may grow any more."""
PLANS = int(os.environ.get("SKYBUS_SOAK_PLANS", "2000"))
WATCHERS_NATS, WATCHERS_0MQ = 14, 6
EVERY = max(SECONDS / 200, 2)
"""Seconds between samples; those of a tenth of the time are compared with those of the last tenth."""
FACTOR = 1.2
PATIENCE = 120
"""Seconds that a request may take, on a machine that is busy with other things too."""
POINTS = 4
ITEMS = (
    {"item_type": "plan", "name": "count", "args": [["det1", "noisy_det"]], "kwargs": {"num": POINTS, "delay": 0.1}},
    {"item_type": "plan", "name": "scan", "args": [["det"], "motor", -1, 1, POINTS]},
    {"item_type": "plan", "name": "print_lines", "kwargs": {"n": POINTS, "delay": 0.05}},
    {"item_type": "plan", "name": "failing_plan", "kwargs": {"after": 0.05}},
)


class Watcher:
    """Looks at all there is over NATS, as a GUI does, and counts what it has seen."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seen: dict[str, int] = {"statuses": 0, "events": 0, "console": 0}

    def work(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._count("statuses", self._client.statuses()),
            self._count("events", self._client.events("item.*")),
            self._count("console", self._client.console()),
        ]

    async def _count(self, what: str, source: AsyncGenerator[Any]) -> None:
        async with aclosing(source) as things:
            async for _ in things:
                self.seen[what] += 1


class OldClient:
    """A client of the reference: a request, then its answer."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._context = zmq.asyncio.Context()
        self._control = self._context.socket(zmq.REQ)
        self._control.connect(stack.control)
        self.unsure = 0
        """Items of which it does not know whether they were added."""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            await self._control.send_json({"method": method, "params": params})
            return json.loads(await self._control.recv())

    async def add(self, item: dict[str, Any]) -> None:
        """Add an item; on a machine that has no time for it, it may not learn what has become of it."""
        reply = await self.ask("queue_item_add", item=item, user="soak", user_group="primary")
        self.unsure += not reply["success"]

    async def watch(self) -> None:
        """Read the info socket and ask for the status, twice a second at most."""
        info = self._context.socket(zmq.SUB)
        info.connect(self._stack.info)
        info.subscribe(b"")
        asked = 0.0
        while True:
            await info.recv_multipart()
            if time.monotonic() - asked > 0.5:
                asked = time.monotonic()
                await self.ask("status")

    def close(self) -> None:
        self._context.destroy(linger=0)


async def submit(client: Client, old: OldClient) -> None:
    """Add all plans, evenly, every other one over 0MQ; look at queue and history in between."""
    begin = time.monotonic()
    for number in range(PLANS):
        await asyncio.sleep(begin + number * SECONDS / PLANS - time.monotonic())  # the pace of the soak
        item = ITEMS[number // 2 % len(ITEMS)]
        if number % 2:
            await client.add_item(item)
        else:
            await old.add(item)
        if number % 10 == 0:
            await client.queue()
            await client.history(offset=max(number - 20, 0))


async def measure(gauges: Gauges) -> None:
    """Take samples evenly."""
    begin = time.monotonic()
    for number in count():
        await asyncio.sleep(begin + number * EVERY - time.monotonic())  # the samples' pace
        await gauges.take()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
async def test_nothing_grows_while_plans_run_and_clients_watch(data_dir: Path, tmp_path: Path, capsys) -> None:
    """2 000 plans and 20 clients in an hour, unless the variables SKYBUS_SOAK_… say otherwise."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(stack_up(data_dir))
        client = await stack.enter_async_context(running.client(request_timeout=PATIENCE))
        clients = [await stack.enter_async_context(running.client()) for _ in range(WATCHERS_NATS)]
        watchers = [Watcher(each) for each in clients]
        old = [OldClient(running) for _ in range(WATCHERS_0MQ + 1)]
        for each in old:
            stack.callback(each.close)
        await client.open_environment()
        await client.set_mode({"ignore_failures": True})
        await client.set_autostart(enable=True)
        gauges = Gauges(running, client, tmp_path / "samples.csv")
        side = [asyncio.create_task(work) for watcher in watchers for work in watcher.work()]
        side += [asyncio.create_task(each.watch()) for each in old[1:]]
        side += [asyncio.create_task(measure(gauges))]
        try:
            submitting = asyncio.create_task(submit(client, old[0]))
            ended, _ = await asyncio.wait([submitting, *side], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            status = await client.wait("queue_drained", 600)
        finally:
            await end_tasks([submitting, *side])
        with capsys.disabled():
            print(f"\n{tmp_path / 'samples.csv'}: {PLANS} plans in {SECONDS:.0f} s")
            growths = gauges.growth(WARM_UP, SECONDS / 10)
            print(Growth.HEADING, *(growth.line() for growth in growths), sep="\n")
            print(f"not known whether added: {old[0].unsure}")
            print("seen by each client:", *(watcher.seen for watcher in watchers), sep="\n  ")
    assert PLANS - old[0].unsure <= status.items_in_history <= PLANS
    assert min(watcher.seen["events"] for watcher in watchers) >= status.items_in_history
    assert [leak for growth in growths for leak in growth.leaks()] == []
    too_large = [growth.line() for growth in growths if growth.part in SERVICES and growth.factor("rss") > FACTOR]
    assert too_large == []
