"""Requests larger than a message: they arrive whole, bounded, and only from the user who sends them."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.msg import Msg

from skybus.bus import blob
from skybus.bus.api.internal import PLAN_RUN, PLAN_SHOW, PlanAccepted, PlanRun, PlanShown
from skybus.bus.api.items import ItemSpec
from skybus.bus.api.queue import ITEM_ADD, ItemAdd, ItemAdded
from skybus.bus.connection import Bus
from skybus.bus.errors import DeniedError, InvalidError, NobodyThereError, TooLargeError
from skybus.bus.messages import Empty
from skybus.bus.service import Handler, Service
from skybus.bus.uploads import OPEN, Uploads
from skybus.client.client import Client
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, opened, queue_service
from tests.promises import PATIENCE
from tests.servers import NatsServer, running

__all__ = ["client", "house"]

MEGABYTE = 1 << 20
ADD = "sky.sim.cmd.operator.queue.item.add"
RANDOM = random.Random(13)
FLOATS = [RANDOM.random() for _ in range(500_000)]
"""9.6 MB as JSON, 4.6 MB compressed: two parts."""
LARGE = {"item_type": "plan", "name": "count", "args": [FLOATS]}


class Queue:
    """Takes items, and remembers them."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.items: list[dict[str, Any]] = []
        Service(bus, "queue", [Handler(ITEM_ADD, self.add)])

    async def add(self, request: ItemAdd) -> ItemAdded:
        self.items.append(request.item.to_item())
        return ItemAdded(item={}, qsize=len(self.items))


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[Queue]:
    queue = Queue(nats.make_bus("queue"))
    async with running(queue.bus):
        yield queue


@pytest.fixture
async def operator(nats: NatsServer) -> AsyncIterator[Bus]:
    async with nats.bus("operator") as bus:
        yield bus


@pytest.fixture
async def bridge(nats: NatsServer) -> AsyncIterator[Bus]:
    async with nats.bus("bridge") as bus:
        yield bus


async def send(bus: Bus, data: bytes, part: str, subject: str = ADD) -> Msg:
    """Send one part."""
    head = {"Sky-Part": part, "Sky-Deadline": str(int((time.time() + 30) * 1000))}
    return await bus.connection.request(subject, data, timeout=PATIENCE, headers=head)


async def refusal(bus: Bus, data: bytes, part: str, subject: str = ADD) -> tuple[str, str]:
    """How a part is refused: code and sentence."""
    reply = await send(bus, data, part, subject)
    assert reply.headers
    return reply.headers["Nats-Service-Error-Code"], json.loads(reply.data)["msg"]


async def next_place(bus: Bus, user: str, data: bytes, part: str) -> str:
    """Send a first part; returns where this user sends the next one."""
    reply = await send(bus, data, part, f"sky.sim.cmd.{user}.queue.item.add")
    assert reply.headers
    return f"sky.sim.cmd.{user}.part.{reply.headers['Sky-More']}"


async def test_a_request_larger_than_a_message_arrives_whole(queue: Queue, operator: Bus) -> None:
    await operator.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(LARGE)), timeout=PATIENCE)
    assert queue.items == [LARGE]


async def test_an_order_larger_than_a_message_reaches_the_environment_and_comes_back(nats: NatsServer) -> None:
    """The environment has no right to use the object store."""
    bus, orders = nats.make_bus("environment"), list[PlanRun]()

    async def run(order: PlanRun) -> PlanAccepted:
        orders.append(order)
        return PlanAccepted(outcome="started")

    async def show(_: Empty) -> PlanShown:
        return PlanShown(item=orders[0].item)

    Service(bus, "environment", [Handler(PLAN_RUN, run), Handler(PLAN_SHOW, show)], stores=False)
    async with running(bus), nats.bus("queue") as queue:
        await queue.call(PLAN_RUN, PlanRun(attempt="a", item=LARGE), timeout=PATIENCE)
        assert (await queue.call(PLAN_SHOW, Empty(), timeout=PATIENCE)).item == LARGE


async def test_what_is_larger_than_the_bound_is_refused_with_both_numbers(queue: Queue, operator: Bus) -> None:
    queue.bus.max_request = 9 * MEGABYTE
    with pytest.raises(TooLargeError, match=r"queue.item.add.* 9,[\d,]+ bytes, at most 9,437,184 .*SKYBUS_MAX_REQUEST"):
        await operator.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(LARGE)), timeout=PATIENCE)
    assert queue.items == []


async def test_what_unpacks_to_more_than_the_bound_is_refused_before_it_is_unpacked(
    queue: Queue, operator: Bus
) -> None:
    bomb = zlib.compress(b" " * (100 * MEGABYTE))
    code, why = await refusal(operator, bomb, f"0 {len(bomb)} {100 * MEGABYTE}")
    assert (code, "104,857,600 bytes, at most 67,108,864" in why) == ("too_large", True)
    code, why = await refusal(operator, bomb, f"0 {len(bomb)} 1000")
    assert (code, "more than 1,000 bytes" in why) == ("invalid", True)
    assert queue.items == []


BODY = json.dumps({"item": COUNT}).encode()
PACKED = zlib.compress(BODY)


@pytest.mark.parametrize(
    ("data", "part", "why"),
    [
        (PACKED, f"0 {len(PACKED)} {len(BODY) + 1}", "were announced"),
        (PACKED, f"0 {len(PACKED)} {len(BODY) - 1}", "more than"),
        (PACKED[:-1], f"0 {len(PACKED) - 1} {len(BODY)}", "cut off"),
        (PACKED + b"x", f"0 {len(PACKED) + 1} {len(BODY)}", "something stands behind"),
        (PACKED, f"0 {len(PACKED) - 1} {len(BODY)}", "longer than what is left"),
        (b"", f"0 {len(PACKED)} {len(BODY)}", "empty"),
        (PACKED, f"1 {len(PACKED)} {len(BODY)}", "not the next one"),
        (b"not compressed", f"0 14 {len(BODY)}", "cannot be unpacked"),
        (PACKED, "0 -1 5", "Sky-Part"),
        (PACKED, "much", "Sky-Part"),
    ],
    ids=[
        "too short",
        "too long",
        "cut off",
        "more behind",
        "too much",
        "empty",
        "late",
        "plain",
        "negative",
        "no sizes",
    ],
)
async def test_a_part_that_lies_is_refused(queue: Queue, operator: Bus, data: bytes, part: str, why: str) -> None:
    code, said = await refusal(operator, data, part)
    assert (code, why in said) == ("invalid", True), said
    await send(operator, PACKED, f"0 {len(PACKED)} {len(BODY)}")
    assert queue.items == [COUNT]


async def test_a_later_part_that_lies_ends_its_request(queue: Queue, operator: Bus) -> None:
    rest = f"10 {len(PACKED)} {len(BODY)}"
    place = await next_place(operator, "operator", PACKED[:10], f"0 {len(PACKED)} {len(BODY)}")
    assert "not the next one" in (await refusal(operator, PACKED[10:], f"10 {len(PACKED)} 7", place))[1]
    assert "send it again" in (await refusal(operator, PACKED[10:], rest, place))[1]
    assert queue.items == []


async def test_nobody_reaches_the_parts_of_another_user(queue: Queue, operator: Bus, bridge: Bus) -> None:
    rest = f"10 {len(PACKED)} {len(BODY)}"
    place = await next_place(operator, "operator", PACKED[:10], f"0 {len(PACKED)} {len(BODY)}")
    with pytest.raises(DeniedError):
        await bridge.request_raw(place, PACKED[10:])
    code, said = await refusal(bridge, PACKED[10:], rest, place.replace(".operator.", ".bridge."))
    assert (code, "not held here" in said) == ("unavailable", True)
    await send(operator, PACKED[10:], rest, place)
    assert queue.items == [COUNT]


async def test_one_user_who_begins_many_requests_leaves_room_for_others(
    queue: Queue, operator: Bus, bridge: Bus
) -> None:
    most = f"0 {queue.bus.max_request} {queue.bus.max_request}"
    for _ in range(OPEN):
        await next_place(operator, "operator", b"x", most)
    code, said = await refusal(operator, b"x", most)
    assert (code, "was not carried out" in said) == ("too_many", True)
    await next_place(bridge, "bridge", b"x", most)


async def test_what_is_whole_after_its_deadline_is_not_done(queue: Queue, operator: Bus) -> None:
    place = await next_place(operator, "operator", PACKED[:10], f"0 {len(PACKED)} {len(BODY)}")
    head = {"Sky-Part": f"10 {len(PACKED)} {len(BODY)}", "Sky-Deadline": "1"}
    late = await operator.connection.request(place, PACKED[10:], timeout=PATIENCE, headers=head)
    assert b"after its deadline" in late.data
    assert queue.items == []


async def test_a_service_that_has_lost_the_first_parts_gets_the_request_again(
    queue: Queue, nats: NatsServer, monkeypatch
) -> None:
    """As one that was restarted."""
    find, lost = Uploads.find, list[str]()

    def lose_once(uploads: Uploads[Any], token: str, user: str) -> Any:
        if not lost:
            lost.append(token)
            uploads.end(token)
        return find(uploads, token, user)

    monkeypatch.setattr(Uploads, "find", lose_once)
    async with Client.connect(data_dir=nats.data_dir, request_timeout=60) as client:
        await client.add_item(LARGE)
    assert len(lost) == 1
    assert queue.items == [LARGE]


async def test_parts_for_a_process_that_has_ended_are_not_sent(queue: Queue, operator: Bus) -> None:
    with pytest.raises(NobodyThereError):
        await operator.request_raw(f"sky.sim.cmd.operator.part.{'0' * 32}.{'0' * 32}", PACKED)


async def test_a_large_request_that_is_sent_again_is_done_once(nats, valkey, house: StandIns, client: Client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        request = ItemAdd(item=ItemSpec.model_validate(LARGE))
        first = await client.call(ITEM_ADD, request, timeout=60, request_id="one")
        again = await client.call(ITEM_ADD, request, timeout=60, request_id="one")
        assert first.item == again.item
        page = await client.queue(max_item_bytes=1000)
        assert page.items == [
            {**{name: first.item[name] for name in first.item if name != "args"}, "left_out": ["args"]}
        ]
        with pytest.raises(InvalidError, match=r"without its \['args'\]"):
            await client.update_item(page.items[0])
        await client.start()
        assert (await house.orders.get()).item["args"] == [FLOATS]


async def test_a_reply_that_is_not_what_was_announced_is_refused(nats: NatsServer) -> None:
    async with nats.bus("queue") as bus:
        await blob.ensure(bus.jetstream, bus.subjects.blob_bucket)
        subject, packed, size = (await blob.Blobs(bus).store(b"x" * 1000)).split()
        assert await blob.fetch(bus, f"{subject} {packed} {size}") == b"x" * 1000
        with pytest.raises(InvalidError, match="more than 999"):
            await blob.fetch(bus, f"{subject} {packed} 999")
        with pytest.raises(TooLargeError, match="read it in pages"):
            await blob.fetch(bus, f"{subject} {packed} {blob.LARGEST + 1}")
        with pytest.raises(TooLargeError):
            await blob.fetch(bus, f"{subject} {blob.LARGEST + 1} 1000")


async def test_a_large_request_that_nobody_takes_was_not_sent(nats: NatsServer) -> None:
    async with nats.bus("operator") as bus:
        with pytest.raises(NobodyThereError, match="no service answers"):
            await bus.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(LARGE)), timeout=PATIENCE)
