"""NATS stands still, cuts off who does not read, or has forgotten the ids of what it has stored."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from skybus.bus import headers
from skybus.bus.api.items import ItemSpec
from skybus.bus.api.queue import ITEM_ADD, ItemAdd
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.streams import console_stream, docs_stream, ensure_stream
from skybus.client.client import Client
from skybus.worker import outbox as outbox_module
from skybus.worker.outbox import Outbox
from skybus.worker.spool import Record, Spool
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, queue_service
from tests.promises import PATIENCE, within
from tests.servers import NatsServer

__all__ = ["client", "house"]


@within(2)
async def test_a_server_that_stands_still_delays_and_what_comes_too_late_is_not_done(
    nats: NatsServer, valkey, house: StandIns, client: Client, limit: float
) -> None:
    add = ItemAdd(item=ItemSpec.model_validate(COUNT))
    async with queue_service(nats, valkey):
        await client.wait("idle")
        connection = client.bus.connection
        assert nats.process
        nats.process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(UnavailableError, match="no answer"):
            await client.call(ITEM_ADD, add, timeout=1.5)
        assert time.monotonic() - begin < limit
        nats.process.send_signal(signal.SIGCONT)
        item = await client.add_item(COUNT)
        assert [one["item_uid"] for one in (await client.queue()).items] == [item["item_uid"]]
        assert client.bus.connection is connection


@pytest.fixture
async def impatient(data_dir: Path) -> AsyncIterator[NatsServer]:
    """A server that cuts off soon who does not read."""
    server = NatsServer(data_dir, other={"write_deadline": "300ms", "max_pending": 4 << 20})
    await server.start()
    yield server
    server.stop()


async def test_who_does_not_read_is_cut_off_and_goes_on_without_a_gap(impatient: NatsServer) -> None:
    """Nobody else notices; the document that was missed is read from the stream."""
    numbers = range(400)
    async with (
        impatient.bus("queue") as bus,
        impatient.bus("environment") as plans,
        Client.connect(data_dir=impatient.data_dir, connect_timeout=PATIENCE) as quick,
        Client.connect(data_dir=impatient.data_dir, connect_timeout=PATIENCE) as slow,
        asyncio.timeout(PATIENCE),
    ):
        await ensure_stream(bus.jetstream, docs_stream(bus.subjects))
        subject = bus.subjects.document("event", "run-1")
        send = plans.connection.request

        async def follow(client: Client) -> list[int]:
            found: list[int] = []
            async with aclosing(client.documents()) as documents:
                async for document in documents:
                    found.append(document.doc["n"])
                    if found[-1] == numbers[-1]:
                        return found
            raise AssertionError

        following = [asyncio.create_task(follow(client)) for client in (quick, slow)]
        while len(quick.bus._subscriptions) == 0 or len(slow.bus._subscriptions) == 0:
            await asyncio.sleep(0)
        for bus_ in (quick.bus, slow.bus):
            await bus_.settle()
        await send(subject, b'{"n": 0}', timeout=PATIENCE)
        lost, noticed = asyncio.Event(), asyncio.Event()
        slow.bus.on_disconnect.append(lost.set)
        quick.bus.on_disconnect.append(noticed.set)
        transport = slow.bus.connection._transport._io_writer.transport  # type: ignore[union-attr]
        transport.pause_reading()
        for number in numbers[1:]:
            await send(subject, b'{"n": %d, "x": "%s"}' % (number, b"x" * 100_000), timeout=PATIENCE)
        assert await following[0] == list(numbers)
        transport.resume_reading()
        await lost.wait()
        assert await following[1] == list(numbers)
        assert not noticed.is_set()
        assert "Slow Consumer" in (impatient.data_dir / "nats.log").read_text()


async def texts(bus: Bus) -> list[str]:
    last = (await bus.jetstream.stream_info(bus.subjects.console_stream)).state.last_seq
    stream = bus.subjects.console_stream
    found = [await bus.jetstream.get_msg(stream, seq) for seq in range(1, last + 1)]
    return [(message.data or b"").decode() for message in found if message.subject.startswith("sky.sim.console.worker")]


async def until_ids_are_forgotten(bus: Bus) -> None:
    """Of all that was stored before."""
    subject, head = bus.subjects.console("queue"), {headers.MESSAGE_ID: "probe"}
    await bus.jetstream.publish(subject, b"", headers=head)
    while (await bus.jetstream.publish(subject, b"", headers=head)).duplicate:
        await asyncio.sleep(0.01)


async def test_what_was_stored_before_a_long_loss_is_not_stored_twice(
    nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some messages were stored, and their acknowledgements lost; meanwhile JetStream has forgotten their ids."""
    monkeypatch.setattr(outbox_module, "IDS_LAST", 0.0)
    spool = Spool(tmp_path / "spool")
    async with nats.bus("queue") as bus, nats.bus("environment") as plans, asyncio.timeout(PATIENCE):
        await bus.jetstream.add_stream(console_stream(bus.subjects, 3600, 1 << 28).evolve(duplicate_window=0.1))
        outbox = Outbox(spool, plans, tmp_path / "undelivered")
        for number in range(60):
            head = {headers.MESSAGE_ID: f"id {number}"}
            record = Record(bus.subjects.console(f"worker.item{number % 3}"), head, str(number).encode())
            spool.append(record)
            if number < 20 or number == 30:  # one has overtaken others
                await plans.connection.request(record.subject, record.body, timeout=PATIENCE, headers=head)
        await until_ids_are_forgotten(bus)
        await outbox.run_until_delivered()
        expected = [*range(20), 30, *(n for n in range(20, 60) if n != 30)]
        assert await texts(bus) == [str(number) for number in expected]
    spool.close()
