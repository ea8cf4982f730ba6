"""What is kept has a limit everywhere, a full store refuses in words, and what waits for room is not lost."""

from __future__ import annotations

import asyncio
import os
import re

import pytest
from redis.asyncio import Redis

from skybus.bus import blob
from skybus.bus.api.internal import EnvironmentExited
from skybus.bus.api.stores import STORES_GET
from skybus.bus.errors import UnavailableError, WrongStateError
from skybus.bus.messages import Empty, encode
from skybus.bus.streams import docs_stream, ensure_bucket, ensure_stream, life_stream
from skybus.queue import report_room
from skybus.worker.outbox import Outbox
from skybus.worker.spool import Spool
from tests.integration.queue_fixtures import COUNT, client, house, opened, queue_service
from tests.promises import PATIENCE

__all__ = ["client", "house"]

MB = 1 << 20


async def test_streams_and_buckets_from_before_there_were_limits_get_them_in_place(nats) -> None:
    async with nats.bus("worker") as bus:
        jetstream, names = bus.jetstream, bus.subjects
        for config in (life_stream(names), docs_stream(names)):
            await jetstream.add_stream(config.evolve(max_bytes=-1, max_msg_size=-1, discard=None))
            await jetstream.publish(config.subjects[0].replace("*", "x").replace(">", "x"), b"kept")
            await ensure_stream(jetstream, config)
            info = await jetstream.stream_info(str(config.name))
            assert (info.config.max_bytes, info.config.discard) == (config.max_bytes, config.discard)
            assert info.state.messages == 1
        await jetstream.create_key_value(bucket=names.state_bucket, history=1, direct=True)
        await jetstream.create_object_store(names.blob_bucket)
        await ensure_bucket(jetstream, names.state_bucket)
        await blob.ensure(jetstream, names.blob_bucket)
        for stream in (f"KV_{names.state_bucket}", f"OBJ_{names.blob_bucket}"):
            assert ((await jetstream.stream_info(stream)).config.max_bytes or 0) > 0


async def test_a_reply_for_which_the_bucket_has_no_room_is_refused_with_the_way_out(nats) -> None:
    async with nats.bus("queue") as bus:
        await blob.ensure(bus.jetstream, bus.subjects.blob_bucket, max_bytes=MB)
        with pytest.raises(UnavailableError, match="is full .*ask again then, or read in pages"):
            await blob.Blobs(bus).store(os.urandom(3 * MB))


async def test_reports_for_which_the_stream_has_no_room_wait_and_the_queue_service_makes_room(
    nats, valkey, house, client, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(report_room, "EVERY", 0.05)
    settings = {"life_max_bytes": 16 * MB}
    async with queue_service(nats, valkey, **settings):
        await opened(house, client)
        await client.add_items([COUNT])
        await client.start()
        order = await house.orders.get()
    names, jetstream = house.services.subjects, house.services.jetstream
    await ensure_stream(jetstream, life_stream(names, 16 * MB))
    outbox = Outbox(Spool(tmp_path / "spool"), house.environment, tmp_path / "undelivered")
    delivering = asyncio.create_task(outbox.run())
    try:
        for number in range(12):
            gone = EnvironmentExited(environment_id=f"former {number}", msg=os.urandom(2 * MB).hex()[: 2 * MB])
            outbox.put(names.life("exited"), encode(gone), f"former {number}", {})
        report = house.report_of(order)
        outbox.put(names.life("report"), encode(report), "the report", {}, durable=True)
        async with asyncio.timeout(PATIENCE):
            while (await jetstream.stream_info(names.life_stream)).state.bytes < 12 * MB:
                await asyncio.sleep(0.02)
        assert not outbox.spool.is_delivered
        async with queue_service(nats, valkey, **settings):
            status = await client.wait(lambda status: status.items_in_history == 1)
            assert status.items_in_queue == 0
            async with asyncio.timeout(PATIENCE):
                await outbox.delivered()
    finally:
        delivering.cancel()
        await asyncio.wait({delivering})
        outbox.spool.close()
    assert (await jetstream.stream_info(names.life_stream)).state.bytes <= 16 * MB


async def test_a_full_valkey_refuses_what_adds_and_says_how_to_go_on_while_plans_are_filed(
    nats, valkey, house, client
) -> None:
    async with queue_service(nats, valkey), Redis.from_url(valkey.url) as redis:
        assert int((await redis.config_get("maxmemory"))["maxmemory"]) > 0
        await opened(house, client)
        await client.add_items([COUNT, COUNT])
        await client.start()
        order = await house.orders.get()
        await redis.config_set("maxmemory", (await redis.info("memory"))["used_memory"] + 4 * MB)
        adding = [client.add("count", "x" * MB) for _ in range(12)]
        refused = [
            answer for answer in await asyncio.gather(*adding, return_exceptions=True) if not isinstance(answer, dict)
        ]
        assert refused
        way_out = "clear the history or take items out .*SKYBUS_VALKEY_MAX_BYTES"
        assert all(isinstance(error, WrongStateError) and re.search(way_out, error.message) for error in refused)
        added = (await client.queue()).qsize
        await house.finished(order)
        await house.finished(await house.orders.get())
        await client.wait(lambda status: status.items_in_history == 2)
        await client.stop()
        await client.remove("back")
        assert (await client.queue()).qsize < added


async def test_what_is_used_of_each_store_is_told(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add("count")
        stores = {store.name: store for store in (await client.call(STORES_GET, Empty())).stores}
        names = {"redis", "kept answers", "changes of the last minute", "jetstream", "reports", "large replies"}
        assert names | {"kept values"} <= set(stores)
        assert all(store.used > 0 for name, store in stores.items() if name not in ("large replies", "jetstream"))
        assert {name for name, store in stores.items() if store.limit is None} == {"jetstream"}
