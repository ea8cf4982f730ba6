"""Plan code sends little that unpacks to much: what that costs a stack, in memory and in time."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest
import zmq
import zmq.asyncio

from skybus.bus import headers
from skybus.bus.api.console import MOST_BYTES
from skybus.queue.reports import DURABLE
from tests.bombs import bomb
from tests.promises import PATIENCE
from tests.system.stack import RunningStack, stack_up
from tests.system.test_forging import connected

pytestmark = pytest.mark.slow

PARTS = ("bridge", "console", "queue", "auth", "worker")
MOST = 250
"""MB that a service may take on top while it is attacked."""
BOMBS = 20
ZLIB = {headers.ENCODING: "zlib"}


@contextmanager
def info_socket(stack: RunningStack) -> Iterator[zmq.asyncio.Socket]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    socket.connect(stack.info)
    socket.subscribe("QS_Console")
    try:
        yield socket
    finally:
        socket.close(linger=0)
        context.term()


def memory(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """MB by name."""
    return {name: process.memory_info().rss / 2**20 for name, process in processes.items()}


@asynccontextmanager
async def peaks(processes: dict[str, psutil.Process]) -> AsyncIterator[dict[str, float]]:
    """The most that each process takes meanwhile."""
    most = memory(processes)

    async def look() -> None:
        while True:
            for name, size in memory(processes).items():
                most[name] = max(most[name], size)
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    try:
        yield most
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def reports_are_read(stack: RunningStack) -> bool:
    """Whether the queue service has dealt with all reports."""
    async with connected(stack, "queue") as (services, _):
        reader = await services.jetstream().consumer_info("LIFE_sim", DURABLE)
        return not (reader.num_pending or reader.num_ack_pending)


async def test_what_unpacks_to_much_costs_neither_memory_nor_time(data_dir: Path) -> None:
    packed = bomb(250)
    async with stack_up(data_dir) as stack, stack.client() as client, connected(stack, "environment") as (plans, _):
        processes = {name: stack.find(name) for name in PARTS}
        with info_socket(stack) as subscriber:

            async def seconds_to_print(text: str) -> float:
                """Seconds until a subscriber of the bridge and a reader of the last line have it."""
                begin = time.monotonic()
                await plans.request("sky.sim.console.worker.-", f"{text}\n".encode(), timeout=PATIENCE)
                while text not in json.loads((await subscriber.recv_multipart())[1])["msg"]:
                    pass
                async with aclosing(client.console(last=1, follow=False)) as chunks:
                    assert [chunk.text async for chunk in chunks] == [f"{text}\n"]
                return time.monotonic() - begin

            async with asyncio.timeout(PATIENCE):
                await plans.request("sky.sim.console.worker.-", b"until somebody listens\n")
                while not await subscriber.poll(50):
                    await plans.request("sky.sim.console.worker.-", b"until somebody listens\n")
            usual = statistics.median([await seconds_to_print(f"before {number}") for number in range(20)])
            before = memory(processes)
            async with asyncio.timeout(4 * PATIENCE), peaks(processes) as most:

                async def send(topic: str) -> None:
                    for _ in range(BOMBS):
                        await plans.request(f"sky.sim.{topic}", packed, headers=ZLIB, timeout=PATIENCE)

                begin = time.monotonic()
                await send("console.worker.-")
                sent = time.monotonic() - begin
                behind = await seconds_to_print("the last one")
                after = statistics.median([await seconds_to_print(f"after {number}") for number in range(20)])
                async with aclosing(client.console(last=100_000, follow=False)) as chunks:
                    read = [len(chunk.text) async for chunk in chunks]
                await send("doc.start.run")
                await send("int.life.task")
                while not await reports_are_read(stack):
                    await asyncio.sleep(0.1)
        begin = time.monotonic()
        while any(size > 1.3 * before[name] for name, size in memory(processes).items()):
            assert time.monotonic() - begin < 60, (before, memory(processes))
            await asyncio.sleep(0.5)
        seconds = time.monotonic() - begin
        print(f"\nMB before {before}\nMB most {most}\nMB after {memory(processes)} in {seconds:.1f} s")
        print(f"s to print a line: {usual:.3f} before, {behind:.3f} behind (sent in {sent:.2f}), {after:.3f} after")
        assert all(most[name] - before[name] < MOST for name in PARTS)
        assert sum(read) <= MOST_BYTES
        assert behind < 10
        assert after < 3 * usual + 0.05
