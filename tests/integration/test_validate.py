"""Items are checked without being queued: a real queue service asks a real auth service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jsonschema import Draft202012Validator

from skybus.bus.api.internal import CATALOG_REFRESH, WORKER_STATE, WorkerState
from skybus.bus.messages import Empty
from skybus.bus.service import Handler, Service
from skybus.bus.streams import ensure_stream, life_stream
from tests.integration.auth_fixtures import FLAGS, auth, count, environment
from tests.integration.queue_fixtures import client, queue_service
from tests.promises import PATIENCE, within
from tests.servers import NatsServer, running

__all__ = ["client"]
DEVICES = {f"dev_{number}": {**FLAGS, "components": {"val": FLAGS}} for number in range(13_000)}


@within(1)
async def test_items_are_checked_fast_against_a_large_catalogue_and_none_is_queued(nats, valkey, client, limit) -> None:
    good = [count(f"dev_{number}", f"dev_{number}.val", num=5) for number in range(97)]
    bad = [count("dev_13000"), count("dev_1", num="five"), {"item_type": "plan"}]
    async with (
        asyncio.timeout(PATIENCE),
        _worker(nats),
        environment(nats, devices=DEVICES, part_size=30_000),
        auth(nats),
        queue_service(nats, valkey),
        nats.bus("queue") as services,
    ):
        await services.call(CATALOG_REFRESH, Empty(), timeout=PATIENCE)
        await client.wait("idle")
        start = time.perf_counter()
        findings = await client.validate([*good, *bad])
        took = time.perf_counter() - start
        status = await client.status()
        schema = await client.plan_schema("count")

    print(f"100 items validated in {took:.3f} s")
    assert took < limit
    assert [finding.success for finding in findings] == [True] * 97 + [False] * 3
    assert [finding.code for finding in findings[97:]] == ["not_found", "invalid", "invalid"]
    assert "'dev_13000' is not in the list of allowed devices. Did you mean 'dev_" in findings[97].msg
    assert "key='num', value='five'" in findings[98].msg
    assert status.items_in_queue == 0

    takes = Draft202012Validator(schema).is_valid
    assert takes({"detectors": ["dev_12999", "dev_0.val"], "num": 5})
    assert not takes({"detectors": ["dev_13000"]})


@asynccontextmanager
async def _worker(nats: NatsServer) -> AsyncIterator[None]:
    """Stand in for a supervisor without an environment, which is all that the queue service asks it for."""
    bus = nats.make_bus("worker")
    Service(bus, "worker", [Handler(WORKER_STATE, _state)])
    async with running(bus):
        await ensure_stream(bus.jetstream, life_stream(bus.subjects))
        yield


async def _state(_: Empty) -> WorkerState:
    return WorkerState()
