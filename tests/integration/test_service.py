"""What a service answers that is larger than a message or cannot be sent, and what it takes no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.js.errors import BucketNotFoundError

from skybus.bus import blob
from skybus.bus.api.internal import PLAN_SHOW, PlanShown
from skybus.bus.blob import Blobs
from skybus.bus.connection import Bus
from skybus.bus.errors import DeniedError, InvalidError, NobodyThereError, SkybusError, UnavailableError
from skybus.bus.messages import Empty
from skybus.bus.service import Handler, Service
from tests.servers import NatsServer, running

LARGE = "x" * 9_000_000


@pytest.fixture
async def asker(nats: NatsServer) -> AsyncIterator[Bus]:
    async with nats.bus("queue") as bus:
        yield bus


def serve(nats: NatsServer, outcome: PlanShown | SkybusError) -> tuple[Bus, Service]:
    bus = nats.make_bus("worker")

    async def answer(_: Empty) -> Any:
        if isinstance(outcome, SkybusError):
            raise outcome
        return outcome

    return bus, Service(bus, "test", [Handler(PLAN_SHOW, answer)])


async def without_bucket(bus: Bus) -> None:
    await blob.ensure(bus.jetstream, bus.subjects.blob_bucket)
    await bus.jetstream.delete_object_store(bus.subjects.blob_bucket)


async def test_a_refusal_larger_than_a_message_comes_with_its_details(nats: NatsServer, asker: Bus) -> None:
    bus, _ = serve(nats, InvalidError("item 3 is wrong", verdicts=LARGE))
    async with running(bus):
        await blob.ensure(bus.jetstream, bus.subjects.blob_bucket)
        with pytest.raises(InvalidError, match="^item 3 is wrong$") as refused:
            await asker.call(PLAN_SHOW, Empty(), timeout=2)
        assert refused.value.details == {"verdicts": LARGE}


async def test_what_cannot_be_stored_is_refused_with_the_reason(nats: NatsServer, asker: Bus) -> None:
    """A refusal comes without its details."""
    await without_bucket(asker)
    bus, _ = serve(nats, InvalidError("item 3 is wrong", verdicts=LARGE))
    async with running(bus):
        with pytest.raises(InvalidError, match="item 3 is wrong .without details: .*not stored"):
            await asker.call(PLAN_SHOW, Empty(), timeout=2)
    bus, _ = serve(nats, PlanShown(item={"name": LARGE}))
    async with running(bus):
        with pytest.raises(UnavailableError, match="larger than a message, and not stored"):
            await asker.call(PLAN_SHOW, Empty(), timeout=2)


async def test_a_body_that_many_ask_for_together_is_stored_once(nats: NatsServer, asker: Bus) -> None:
    blobs = Blobs(asker)
    await without_bucket(asker)
    with pytest.raises(BucketNotFoundError):
        await blobs.store(LARGE.encode())
    await blob.ensure(asker.jetstream, asker.subjects.blob_bucket)
    assert len(set(await asyncio.gather(*(blobs.store(LARGE.encode()) for _ in range(5))))) == 1


async def test_a_service_that_ends_takes_no_more_requests(nats: NatsServer, asker: Bus) -> None:
    bus, service = serve(nats, PlanShown())
    async with running(bus):
        await asker.call(PLAN_SHOW, Empty(), timeout=2)
        await service.drain()
        with pytest.raises(NobodyThereError):
            await asker.call(PLAN_SHOW, Empty(), timeout=2)


async def test_who_may_not_ask_is_told_at_once_also_of_a_subject_in_upper_case(nats: NatsServer) -> None:
    async with nats.bus("operator") as bus:
        with pytest.raises(DeniedError, match="may not publish on sky.SRX.cmd.Alice.status"):
            await bus.request_raw("sky.SRX.cmd.Alice.status", b"", timeout=2)
