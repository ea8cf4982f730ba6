"""A client whose clock is off gets its request done, and nothing is done late.

The stand-in for a machine with a wrong clock is a client process in which `time.time` is shifted.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from skybus.bus import headers
from skybus.bus.api.health import Health
from skybus.bus.api.items import ItemSpec
from skybus.bus.api.queue import ITEM_ADD, ItemAdd
from skybus.bus.deadlines import AHEAD, Deadline, ServiceClock
from skybus.bus.messages import encode
from skybus.bus.server_clock import server_ahead
from skybus.bus.streams import ensure_bucket
from skybus.cli.doctor_command import clocks
from skybus.client.client import Client
from tests.integration.bus_fixtures import CannedQueue, canned_queue
from tests.promises import PATIENCE
from tests.servers import NatsServer

HOUR = 3600
CLIENT = """
import asyncio, sys, time
right = time.time
time.time = lambda: right() + float(sys.argv[2])

from skybus.client.client import Client
from skybus.client.retries import GaveUpError

async def main():
    async with Client.connect(data_dir=sys.argv[1], connect_timeout=30) as client:
        for number in range(2):
            print((await client.add(f"plan{number}", text="x" * int(sys.argv[3])))["name"], flush=True)
        if not sys.stdin.readline():
            return
        try:
            await client.bus.call_bytes(*late(), timeout=0.5)
        except Exception as error:
            print(type(error).__name__, flush=True)
        sys.stdin.readline()

def late():
    from skybus.bus.api.queue import ITEM_ADD
    return ITEM_ADD, b'{"item": {"item_type": "plan", "name": "late"}}'

asyncio.run(main())
"""


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[CannedQueue]:
    async with canned_queue(nats) as queue:
        yield queue


@asynccontextmanager
async def shifted_client(nats: NatsServer, seconds: float, size: int = 1) -> AsyncIterator[asyncio.subprocess.Process]:
    """A client in a process whose clock is so many seconds ahead."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLIENT,
        str(nats.data_dir),
        str(seconds),
        str(size),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        await asyncio.wait_for(process.wait(), PATIENCE)


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    return (await process.stdout.readline()).decode().strip()


async def go_on(process: asyncio.subprocess.Process) -> None:
    assert process.stdin
    process.stdin.write(b"\n")
    await process.stdin.drain()


@pytest.mark.parametrize(
    ("seconds", "size"),
    [(HOUR, 1), (-4, 1), (-HOUR, 5_000_000)],
    ids=["ahead", "a little behind", "behind, in parts"],
)
async def test_a_client_whose_clock_is_off_gets_its_requests_done_once_and_never_late(
    nats: NatsServer, queue: CannedQueue, seconds: float, size: int
) -> None:
    async with shifted_client(nats, seconds, size) as client:
        assert [await line_of(client), await line_of(client)] == ["plan0", "plan1"]
        assert nats.process
        nats.process.send_signal(signal.SIGSTOP)  # what is sent now waits in the server's socket
        try:
            await go_on(client)
            assert (await line_of(client)).endswith("Error")
            await asyncio.sleep(2 * AHEAD)  # the fault lasts longer than a clock may be wrong unseen
        finally:
            nats.process.send_signal(signal.SIGCONT)
        async with Client.connect(data_dir=nats.data_dir, connect_timeout=PATIENCE) as other:
            await other.add("after")
    assert [request.item.name for request in queue.seen] == ["plan0", "plan1", "after"]


@pytest.mark.parametrize(("seconds", "shown"), [(-61, "after its deadline"), (HOUR, "nobody knows how old it is")])
async def test_a_client_that_cannot_correct_itself_reads_both_times(
    nats: NatsServer, queue: CannedQueue, seconds: float, shown: str
) -> None:
    sent = time.time()
    head = {headers.DEADLINE: str(int((sent + seconds) * 1000)), headers.DURATION: "5000"}
    body = encode(ItemAdd(item=ItemSpec(item_type="plan", name="count")))
    async with nats.bus("operator") as bus:
        subject = ITEM_ADD.subject(bus.subjects, bus.user)
        reply = await bus.connection.request(subject, body, headers=head, timeout=PATIENCE)
    assert (reply.headers or {})[headers.ERROR_CODE] == "unavailable"
    text = reply.data.decode()
    theirs, here = (datetime.fromtimestamp(moment).astimezone() for moment in (sent + seconds, sent))
    assert shown in text
    assert theirs.isoformat(" ", "seconds")[:16] in text
    assert here.isoformat(" ", "seconds")[:16] in text or time.time() // 60 != sent // 60
    assert abs(float((reply.headers or {})[headers.CLOCK]) - sent) < PATIENCE
    assert queue.seen == []


def test_a_sender_whose_clock_is_right_learns_nothing_from_a_slow_answer() -> None:
    clock = ServiceClock()
    clock.learn({headers.CLOCK: f"{time.time() - 1:.3f}"}, waited=3.0)
    assert clock.ahead == 0
    clock.learn({headers.CLOCK: "soon"}, waited=3.0)
    clock.learn({}, waited=3.0)
    assert clock.ahead == 0
    clock.learn({headers.CLOCK: f"{time.time() + 60:.3f}"}, waited=3.0)
    assert clock.ahead == pytest.approx(60, abs=0.1)
    deadline = Deadline.of(clock.head(5))
    assert deadline.at == pytest.approx(time.time() + 65, abs=0.1)
    assert deadline.duration == 5


@pytest.mark.parametrize(("left", "is_doubtful"), [(4.9, False), (2.4, True), (-1, True), (6, True)])
def test_a_clock_is_doubted_when_too_much_time_is_left_or_too_little(left: float, is_doubtful: bool) -> None:
    assert Deadline(time.time() + left, 5).is_doubtful is is_doubtful
    assert Deadline(time.time() + left).is_doubtful is False


def test_doctor_compares_the_clocks() -> None:
    def health(service: str, **fields: Any) -> Health:
        return Health(service=service, since=0, now=1.0, **fields)

    (well,) = clocks([(health("queue", server_ahead=0.01), 0.0), (health("worker"), -0.2)])
    assert (well.is_well, well.what) == (True, "queue, worker, NATS and this machine agree")
    (off,) = clocks([(health("queue", server_ahead=-61.0), 0.0), (health("worker"), 120.0)])
    assert off.is_well is False
    assert "worker is 120.0 s ahead" in off.what
    assert "NATS is 61.0 s behind" in off.what
    assert clocks([(Health(service="old", since=0), 0.0)]) == []


async def test_doctor_asks_the_nats_server_for_its_time(nats: NatsServer, queue: CannedQueue) -> None:
    assert await server_ahead(queue.bus) is None
    await ensure_bucket(queue.bus.jetstream, queue.bus.subjects.state_bucket)
    assert await server_ahead(queue.bus) == pytest.approx(0, abs=1)
