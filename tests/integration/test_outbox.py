"""The outbox loses nothing, keeps the order and delivers once, whatever dies."""

import asyncio
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from nats.js.api import StreamConfig
from structlog.testing import capture_logs

from skybus.bus.connection import Bus
from skybus.worker import intake as intake_module
from skybus.worker import outbox as outbox_module
from skybus.worker import spool as spool_module
from skybus.worker.intake import Intake
from skybus.worker.outbox import Outbox
from skybus.worker.spool import Position, Record, Spool
from tests.promises import PATIENCE
from tests.servers import running


def record(number: int, size: int = 0) -> Record:
    return Record("a.b", {"Nats-Msg-Id": str(number)}, str(number).encode().ljust(size))


def numbers(spool: Spool, at: Position) -> list[int]:
    found = []
    while batch := spool.read(at, 7):
        found += [int(record.body) for record, _ in batch]
        at = batch[-1][1]
    return found


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def test_messages_are_read_in_the_order_they_were_written(spool):
    for number in range(20):
        spool.append(record(number))

    assert numbers(spool, spool.first()) == list(range(20))


def test_a_message_larger_than_one_read_comes_whole(spool, monkeypatch):
    monkeypatch.setattr(spool_module, "READ_BYTES", 100)
    spool.append(record(1))
    spool.append(record(2, 5000))
    spool.append(record(3))

    assert [len(record.body) for record, _ in spool.read(spool.first(), 9)] == [1, 5000, 1]


def test_delivered_segments_are_dropped_but_for_one(spool, tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 200)
    for number in range(100):
        spool.set_delivered(spool.append(record(number)))

    assert len(list((tmp_path / "spool").glob("*.spool"))) == 2
    assert spool.is_delivered


def test_reading_goes_on_across_segments(spool, monkeypatch):
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 200)
    for number in range(50):
        spool.append(record(number))

    assert numbers(spool, spool.delivered) == list(range(50))


def test_who_opens_the_folder_later_goes_on_where_delivery_had_stopped(tmp_path):
    first = Spool(tmp_path)
    positions = [first.append(record(number)) for number in range(5)]
    first.set_delivered(positions[1])
    first.close()

    second = Spool(tmp_path)
    second.append(record(5))

    assert numbers(second, second.delivered) == [2, 3, 4, 5]
    second.close()


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_message_that_a_killed_process_wrote_in_part_is_dropped(tmp_path, cut):
    first = Spool(tmp_path)
    for number in range(3):
        first.append(record(number, 40))
    first.close()
    segment = next(tmp_path.glob("*.spool"))
    os.truncate(segment, segment.stat().st_size - cut)

    second = Spool(tmp_path)
    second.append(record(7))

    assert numbers(second, second.first()) == [0, 1, 7]
    second.close()


FRAME = 89
"""Bytes of a spooled `record(n, 50)` with a number of one digit."""


def cut_short(segment: Path) -> None:
    os.truncate(segment, segment.stat().st_size - 5)


def cut_in_a_frame(segment: Path) -> None:
    os.truncate(segment, segment.stat().st_size // 4 * 3 + 5)


def zeroed(segment: Path) -> None:
    size = segment.stat().st_size
    os.truncate(segment, size // 4 * 3)
    os.truncate(segment, size)


@pytest.mark.parametrize("damage", [cut_short, cut_in_a_frame, zeroed])
def test_what_a_power_loss_has_damaged_is_told_and_what_follows_is_read(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 4 * FRAME)
    first = Spool(tmp_path)
    for number in range(8):
        first.append(record(number, 50))
    first.close()
    oldest = tmp_path / "00000000.spool"
    assert oldest.stat().st_size == 4 * FRAME
    damage(oldest)

    spool = Spool(tmp_path)
    with capture_logs() as log:
        assert numbers(spool, spool.first()) == [0, 1, 2, 4, 5, 6, 7]
        assert numbers(spool, spool.first()) == [0, 1, 2, 4, 5, 6, 7]

    assert [(line["file"], line["offset"]) for line in log] == [(str(oldest), 3 * FRAME)]
    spool.close()


def test_nothing_is_left_to_do_when_only_damage_follows(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", FRAME)
    first = Spool(tmp_path)
    first.set_delivered(first.append(record(0, 50)))
    first.append(record(1, 50))
    first.append(record(2, 50))
    first.close()
    for segment in ("00000001.spool", "00000002.spool"):
        os.truncate(tmp_path / segment, 0)
        os.truncate(tmp_path / segment, FRAME)

    spool = Spool(tmp_path)

    assert spool.is_delivered
    spool.close()


@contextmanager
def full_disk(spool: Spool) -> Iterator[None]:
    kept, full = os.dup(spool._writer), os.open("/dev/full", os.O_RDWR)
    os.dup2(full, spool._writer)
    try:
        yield
    finally:
        os.dup2(kept, spool._writer)
        os.close(kept)
        os.close(full)


def test_without_room_messages_wait_and_of_those_that_may_be_lost_the_first_ones(spool, monkeypatch):
    monkeypatch.setattr(intake_module, "WAITING_BYTES", 3)
    intake = Intake(spool)
    with capture_logs() as log:
        with full_disk(spool):
            for number in range(7):
                assert intake.take(record(number), durable=number == 5) is None
            assert not intake.write_waiting()
        assert intake.take(record(7), durable=False) == spool.end
        assert intake.write_waiting()

    assert numbers(spool, spool.first()) == [0, 1, 2, 5, 7]
    told = [line for line in log if line["event"].startswith("messages")]
    assert [line["log_level"] for line in told] == ["error", "error", "warning"]
    assert told[-1]["lost"] == 3


@pytest.fixture
async def bus(nats):
    async with nats.bus("worker") as bus:
        yield bus


async def make_stream(bus: Bus, **more) -> None:
    await bus.jetstream.add_stream(StreamConfig(name="S", subjects=["s.>"], duplicate_window=60, **more))


async def bodies(bus: Bus) -> list[str]:
    last = (await bus.jetstream.stream_info("S")).state.last_seq
    return [((await bus.jetstream.get_msg("S", seq)).data or b"").decode() for seq in range(1, last + 1)]


def put(outbox: Outbox, number: int) -> None:
    outbox.put("s.x", str(number).encode(), f"id{number}", {})


async def deliver(outbox: Outbox) -> None:
    async with asyncio.timeout(PATIENCE):
        await outbox.run_until_delivered()


async def test_messages_arrive_in_order(bus, spool, tmp_path):
    await make_stream(bus)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    for number in range(1000):
        put(outbox, number)

    await deliver(outbox)

    assert await bodies(bus) == [str(number) for number in range(1000)]
    assert spool.is_delivered


async def test_messages_put_by_another_thread_arrive(bus, spool, tmp_path):
    await make_stream(bus)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    task = asyncio.create_task(outbox.run())
    await asyncio.to_thread(lambda: [put(outbox, number) for number in range(500)])

    async with asyncio.timeout(PATIENCE):
        await outbox.delivered()

    assert await bodies(bus) == [str(number) for number in range(500)]
    task.cancel()
    await asyncio.wait({task})


async def test_what_was_under_way_when_nats_died_is_sent_again_and_stored_once(nats, spool, tmp_path):
    bus = nats.make_bus("worker")
    async with running(bus):
        await make_stream(bus)
        outbox = Outbox(spool, bus, tmp_path / "undelivered")
        task = asyncio.create_task(outbox.run())
        for number in range(3000):
            put(outbox, number)
            if number == 1500:
                await asyncio.sleep(0)  # let some go out
                nats.stop()
        await nats.start()
        async with asyncio.timeout(PATIENCE):
            await outbox.delivered()

        assert await bodies(bus) == [str(number) for number in range(3000)]
        task.cancel()
        await asyncio.wait({task})


async def test_a_message_that_is_refused_while_the_next_is_compressed_is_sent_again(bus, spool, tmp_path, monkeypatch):
    compress, may_compress = zlib.compress, threading.Event()

    def compress_later(data: bytes, level: int) -> bytes:
        may_compress.wait(PATIENCE)
        return compress(data, level)

    monkeypatch.setattr(zlib, "compress", compress_later)
    await make_stream(bus)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    task = asyncio.create_task(outbox.run())
    put(outbox, 0)
    await outbox.delivered()
    outbox.put("t.x", b"refused", "refused", {})
    outbox.put("s.x", b"x" * (bus.payload_limit + 1), "large", {})
    while outbox._paused is None:
        await asyncio.sleep(0.01)
    await bus.jetstream.add_stream(StreamConfig(name="T", subjects=["t.>"]))

    may_compress.set()
    async with asyncio.timeout(PATIENCE):
        await outbox.delivered()

    assert (await bus.jetstream.get_msg("T", 1)).data == b"refused"
    assert (await bus.jetstream.stream_info("S")).state.messages == 2
    task.cancel()
    await asyncio.wait({task})


async def test_messages_wait_for_their_stream(bus, spool, tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "ANSWER_WAIT", 0.2)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    task = asyncio.create_task(outbox.run())
    for number in range(10):
        put(outbox, number)
    while outbox._paused is None:
        await asyncio.sleep(0.01)

    await make_stream(bus)
    async with asyncio.timeout(PATIENCE):
        await outbox.delivered()

    assert await bodies(bus) == [str(number) for number in range(10)]
    task.cancel()
    await asyncio.wait({task})


async def test_the_rest_of_a_dead_process_is_delivered_once(bus, tmp_path):
    await make_stream(bus)
    dead = Spool(tmp_path / "spool")
    outbox = Outbox(dead, bus, tmp_path / "undelivered")
    for number in range(10):
        put(outbox, number)
    await deliver(outbox)
    for number in range(10, 20):
        put(outbox, number)
    dead.close()

    spool = Spool(tmp_path / "spool")
    await deliver(Outbox(spool, bus, tmp_path / "undelivered"))

    assert await bodies(bus) == [str(number) for number in range(20)]
    spool.close()


async def test_a_message_too_large_for_the_bus_is_compressed(bus, spool, tmp_path):
    await make_stream(bus)
    body = b"x" * (bus.payload_limit + 1)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    outbox.put("s.x", body, "large", {})

    await deliver(outbox)

    message = await bus.jetstream.get_msg("S", 1)
    assert message.headers
    assert message.headers["Sky-Encoding"] == "zlib"
    assert zlib.decompress(message.data or b"") == body


async def test_a_message_too_large_even_so_is_kept_in_a_file_that_its_stub_names(bus, spool, tmp_path):
    await make_stream(bus)
    body = os.urandom(bus.payload_limit + 1)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    outbox.put("s.x", body, "large", {})
    put(outbox, 2)

    await deliver(outbox)

    message = await bus.jetstream.get_msg("S", 1)
    assert message.headers
    assert message.headers["Sky-Encoding"] == "stub"
    assert (tmp_path / "undelivered" / "large").read_bytes() == body
    assert (await bodies(bus))[1] == "2"


async def test_a_message_that_its_stream_refuses_does_not_hold_up_the_others(bus, spool, tmp_path):
    await make_stream(bus, max_msg_size=200)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    put(outbox, 1)
    outbox.put("s.x", b"y" * 500, "refused", {})
    put(outbox, 2)

    await deliver(outbox)

    assert await bodies(bus) == ["1", "2"]
    assert (tmp_path / "undelivered" / "refused").read_bytes() == b"y" * 500


async def test_memory_holds_no_more_than_a_window(bus, spool, tmp_path):
    await make_stream(bus)
    outbox = Outbox(spool, bus, tmp_path / "undelivered")
    for number in range(2000):
        put(outbox, number)
    task = asyncio.create_task(outbox.run())
    most = 0
    while not spool.is_delivered:
        most = max(most, len(outbox._under_way))
        await asyncio.sleep(0)

    assert 0 < most <= outbox_module.WINDOW
    assert all(a < b for a, b in pairwise(map(int, await bodies(bus))))
    task.cancel()
    await asyncio.wait({task})
