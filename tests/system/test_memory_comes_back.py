"""1 740 items of 60 kB come and go: Valkey and the queue service have what they had before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from skybus.bus.api.stores import STORES_GET
from skybus.bus.messages import Empty
from skybus.client.client import Client
from tests.system.stack import RunningStack, run_doctor, stack_up

ADDS, SIZE = 1740, 60_000
MB = 1 << 20
OF_ALLOCATOR = 40 * MB
"""Bytes that Valkey's C library keeps of what Valkey has freed; they are used again, and do not grow."""


async def memory(stack: RunningStack, client: Client) -> dict[str, int]:
    """Bytes of both processes, and those that Valkey itself knows of."""
    stores = {store.name: store.used for store in (await client.call(STORES_GET, Empty())).stores}
    processes = {part: stack.find(part).memory_info().rss for part in ("valkey", "queue")}
    return {**processes, "in valkey": stores["redis"]}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_memory_comes_back_after_large_items(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYBUS_REPEAT_WINDOW", "5")
    async with stack_up(data_dir) as stack, stack.client() as client:
        await client.open_environment()
        await client.add("count", ["det1"], md={"note": "x" * SIZE})
        await client.clear()
        before = await memory(stack, client)
        for _ in range(ADDS):
            await client.add("count", ["det1"], md={"note": "x" * SIZE})
        full = await memory(stack, client)
        assert all(full[part] > before[part] + 50 * MB for part in before), (before, full)
        code, findings = await run_doctor(stack)
        shown = {finding["part"] for finding in findings}
        assert (code, {"room: redis", "room: jetstream", "room: reports", "room: documents"} <= shown) == (0, True)
        await client.clear()
        limits = {
            "queue": 1.3 * before["queue"],
            "in valkey": 1.3 * before["in valkey"] + MB,
            "valkey": before["valkey"] + OF_ALLOCATOR,
        }
        async with asyncio.timeout(180):
            while any(now > limits[part] for part, now in (await memory(stack, client)).items()):
                await asyncio.sleep(1)
