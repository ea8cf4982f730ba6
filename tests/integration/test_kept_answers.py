"""What Redis keeps of answers: what cannot be made again, for as long as a request may be repeated, up to a limit."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from skybus.bus.api.queue import (
    ITEM_ADD,
    ITEM_ADD_BATCH,
    ITEM_MOVE,
    ITEM_REMOVE,
    ITEM_UPDATE,
    BatchAdded,
    ItemAdded,
    ItemMoved,
    ItemRemoved,
)
from skybus.bus.messages import decode
from skybus.client.client import Client
from skybus.queue import remembered
from tests.integration.queue_fixtures import COUNT, client, house, queue_service
from tests.servers import Valkey

__all__ = ["client", "house"]

LARGE: dict[str, Any] = {**COUNT, "kwargs": {"text": "x" * 60_000}}


async def kept(valkey: Valkey) -> dict[str, int]:
    """Bytes of each kept answer, by the request id."""
    async with Redis.from_url(valkey.url) as redis:
        keys = [key async for key in redis.scan_iter("sky:sim:answer:*")]
        return {key.decode().rpartition(":")[2]: await redis.strlen(key) for key in keys}


async def ask(client: Client, endpoint, request_id: str, **fields: Any) -> bytes:
    return await client.bus.call_bytes(endpoint, orjson.dumps(fields), request_id=request_id)


async def test_answers_are_kept_without_what_the_request_repeats_and_are_whole_after_a_restart(
    nats, valkey, house, client
) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        added = await ask(client, ITEM_ADD, "add", item=LARGE)
        batch = await ask(client, ITEM_ADD_BATCH, "batch", items=[LARGE, COUNT])
        uid = decode(ItemAdded, added).item["item_uid"]
        updated = await ask(client, ITEM_UPDATE, "update", item={**LARGE, "item_uid": uid})
        moved = await ask(client, ITEM_MOVE, "move", uid=uid, pos_dest="back")
        gone = await ask(client, ITEM_REMOVE, "remove", pos=0)
        assert decode(ItemRemoved, gone).item["kwargs"] == LARGE["kwargs"]
    sizes = await kept(valkey)
    assert sizes.keys() == {"add", "batch", "update", "move", "remove"}
    assert max(sizes.values()) < 1000
    async with queue_service(nats, valkey):
        await client.wait("idle")
        assert await ask(client, ITEM_ADD, "add", item=LARGE) == added
        assert await ask(client, ITEM_ADD_BATCH, "batch", items=[LARGE, COUNT]) == batch
        assert await ask(client, ITEM_UPDATE, "update", item={**LARGE, "item_uid": uid}) == updated
        again = decode(ItemMoved, await ask(client, ITEM_MOVE, "move", uid=uid, pos_dest="back"))
        assert again == decode(ItemMoved, moved), "the item is in the queue"
        again = decode(ItemRemoved, await ask(client, ITEM_REMOVE, "remove", pos=0))
        assert again.item["left_out"] == ["kwargs"], "the item is nowhere any more"
        assert again.item["item_uid"] == decode(ItemRemoved, gone).item["item_uid"]
        assert (await client.queue()).qsize == 2
        assert len(decode(BatchAdded, batch).results) == 2


async def test_the_oldest_answers_make_room_when_there_are_too_many_bytes(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey, answers_max_bytes=1 << 16):
        await client.wait("idle")
        for number in range(300):
            await ask(client, ITEM_ADD, str(number), item=COUNT)
        sizes = await kept(valkey)
        assert "299" in sizes
        assert "0" not in sizes
        assert sum(sizes.values()) < 1 << 16


async def _memory(valkey: Valkey) -> int:
    async with Redis.from_url(valkey.url) as redis:
        return (await redis.info("memory"))["used_memory"]


@pytest.mark.parametrize("adds", [60, pytest.param(1740, marks=pytest.mark.slow)])
async def test_memory_comes_back_when_items_are_gone_and_requests_may_not_be_repeated_any_more(
    nats, valkey, house, client, monkeypatch, adds
) -> None:
    monkeypatch.setattr(remembered, "KEPT", 1.0)
    async with queue_service(nats, valkey, repeat_window=1, replay_max_bytes=1 << 20):
        await client.wait("idle")
        before = await _memory(valkey)
        for _ in range(adds):
            await client.add("count", text="x" * 60_000)
        assert await _memory(valkey) > before + adds * 60_000
        await client.clear()
        while await kept(valkey):
            pass
        assert await _memory(valkey) < before + (1 << 20)
