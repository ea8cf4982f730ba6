"""Three NATS servers, as `deploy/` has them: those that lead are killed while clients work, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from nats.js.api import StreamConfig

from skybus.bus import blob
from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.streams import console_stream, ensure_bucket, ensure_stream, life_stream
from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from skybus.worker.outbox import Outbox
from skybus.worker.spool import Spool
from tests.faults.chaos import STARTUP, live_through
from tests.faults.deployed import Deployed, deployed, deployed_whole, ends_of_logs
from tests.promises import PATIENCE
from tests.seed import SEED
from tests.servers import NatsServer

STREAMS = ("CONSOLE_sim", "LIFE_sim", "DOCS_sim", "KV_STATE_sim")
META, REDIS, QUEUE = "meta", "redis", "queue"


class LeaderFaults:
    """Kills or stops the server that leads a stream, or places them all, or has the queue, again and again."""

    def __init__(self, place: Deployed, client: Client, seed: str, victims: Sequence[str], said: list[str]) -> None:
        self._place = place
        self._client = client
        self._victims = victims
        self._random = random.Random(f"{seed} leaders")
        self.said = said

    async def run(self, rounds: int) -> None:
        async with self._place.bus() as bus:
            for number in range(rounds):
                await bus.wait_connected()
                what = self._random.choice(self._victims)
                is_stopped, comes_late = self._random.random() < 0.25, self._random.random() < 0.5
                self.said.append(f"{number}: leader of {what} {'stopped' if is_stopped else 'killed'}")
                leader = await self._leader(bus, what)
                self.said[-1] += f", {leader}"
                await (self._stop(leader) if is_stopped else self._kill(leader, comes_late=comes_late))
                await self._until_done(2)
                async with asyncio.timeout(PATIENCE):
                    await self._place.until_whole()  # before that, the next fault would be the second of three servers

    async def _leader(self, bus: Bus, what: str) -> str:
        """Find it; there is none while the others are choosing one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    if leader := await self._find(bus, what):
                        return leader
                except Exception as error:
                    self.said[-1] += f" ({error!r})"
                await asyncio.sleep(0.1)  # nothing tells when one is chosen

    async def _find(self, bus: Bus, what: str) -> str | None:
        if what == META:
            return await self._place.leader_of_meta()
        if what == REDIS:
            return await self._place.primary()
        if what == QUEUE:
            return await self._place.leading_queue()
        return await self._place.leader_of(bus, what)

    async def _kill(self, leader: str, *, comes_late: bool) -> None:
        await self._place.kill(leader)
        if comes_late:
            await self._until_done(1)
        await self._place.start(leader)

    async def _stop(self, leader: str) -> None:
        process = self._place.process(leader)
        process.send_signal(signal.SIGSTOP)
        try:
            await self._until_done(1)
        finally:
            process.send_signal(signal.SIGCONT)

    async def _until_done(self, more: int) -> None:
        done = (await self._client.wait(lambda _: True, PATIENCE)).items_in_history
        await self._client.wait(_more_than(done + more), PATIENCE)


def _more_than(goal: int) -> Callable[[Status], bool]:
    return lambda status: status.items_in_history >= goal


async def spread_chaos(root: Path, runs: Path, rounds: int, seed: str, victims: Sequence[str]) -> None:
    said = list[str]()
    try:
        async with (
            deployed_whole(root, SKYBUS_STARTUP_DIR=str(STARTUP)) as place,
            place.client() as client,
            place.client(request_timeout=PATIENCE) as reader,
        ):
            faults = LeaderFaults(place, client, seed, victims, said)
            await live_through(faults.run(rounds), client, reader, runs, seed)
    except BaseException:
        print(f"seed {seed} (SKYBUS_TEST_SEED):", *said, sep="\n  ")
        print(ends_of_logs(root))
        raise


@pytest.fixture
async def cluster(data_dir: Path):
    """Three NATS servers that have chosen one who places streams, and who knows that the others are there."""
    async with deployed(data_dir / "place", "nats") as place:
        while not await place.is_formed():
            await asyncio.sleep(0.05)  # nothing tells
        yield place


async def made(bus: Bus, stream: StreamConfig) -> None:
    """Make a stream; a cluster that has just begun takes its time."""
    while True:
        with suppress(TimeoutError):
            return await ensure_stream(bus.jetstream, stream, 3)


async def test_streams_get_the_copies_that_the_setting_says(cluster: Deployed) -> None:
    async with cluster.bus() as bus, asyncio.timeout(PATIENCE):
        jetstream, names = bus.jetstream, bus.subjects
        for replicas in (1, 3):
            await ensure_stream(jetstream, life_stream(names), replicas)
            await ensure_bucket(jetstream, names.state_bucket, replicas)
            await blob.ensure(jetstream, names.blob_bucket, replicas)
            if replicas == 1:
                await jetstream.publish(names.life("x"), b"kept")
        for stream in (names.life_stream, f"KV_{names.state_bucket}", f"OBJ_{names.blob_bucket}"):
            assert (await jetstream.stream_info(stream)).config.num_replicas == 3
        assert (await jetstream.get_last_msg(names.life_stream, names.life("x"))).data == b"kept"


async def test_a_client_goes_to_another_server_when_its_own_dies(cluster: Deployed) -> None:
    async with cluster.bus() as bus, asyncio.timeout(PATIENCE):
        stream = life_stream(bus.subjects)
        await made(bus, stream)
        bus.on_connect.append(lambda connection: ensure_stream(connection.jetstream(), stream, 3))
        port = bus.connection.connected_url.port
        own = next(number for number, machine in enumerate(cluster.machines) if machine.nats == port)
        lost = asyncio.Event()
        bus.on_disconnect.append(lost.set)
        await cluster.kill(f"nats{own}")
        await lost.wait()
        await bus.wait_connected()
        assert bus.connection.connected_url.port != port


async def test_order_is_kept_when_a_stream_changes_its_server(cluster: Deployed, tmp_path: Path) -> None:
    """What is on its way then is lost, and must not be overtaken by what is sent a moment later."""
    async with cluster.bus("worker") as bus, asyncio.timeout(PATIENCE):
        subjects, jetstream = bus.subjects, bus.jetstream
        await made(bus, console_stream(subjects, max_age=3600, max_bytes=1 << 20))
        spool = Spool(tmp_path / "spool")
        outbox = Outbox(spool, bus, tmp_path / "undelivered")
        step_down = f"$JS.API.STREAM.LEADER.STEPDOWN.{subjects.console_stream}"
        delivery = asyncio.create_task(outbox.run())
        for number in range(300):
            outbox.put(subjects.console("worker"), b"%d" % number, str(number), {})
            if number % 50 == 20:
                with suppress(UnavailableError):  # somebody has stepped down already
                    await bus.request_raw(step_down, b"", timeout=1)
        await outbox.delivered()
        await end_tasks([delivery])
        spool.close()
        stored = [await jetstream.get_msg(subjects.console_stream, seq=seq) for seq in range(1, 301)]
        assert [int(message.data or b"-1") for message in stored] == list(range(300))


async def test_too_few_servers_are_named(nats: NatsServer) -> None:
    async with nats.bus("queue") as bus:
        for work in (
            ensure_stream(bus.jetstream, life_stream(bus.subjects), 3),
            ensure_bucket(bus.jetstream, bus.subjects.state_bucket, 3),
            blob.ensure(bus.jetstream, bus.subjects.blob_bucket, 3),
        ):
            with pytest.raises(UnavailableError, match="3 copies .SKYBUS_REPLICAS., and there are not so many"):
                await work


async def test_nothing_is_lost_when_servers_that_lead_die(data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir / "place", tmp_path, rounds=3, seed=SEED, victims=(*STREAMS, META))


@pytest.mark.slow
@pytest.mark.timeout(5400)
async def test_nothing_is_lost_when_servers_that_lead_die_100_times(
    data_dir: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir / "place", tmp_path, rounds=100, seed=SEED, victims=(*STREAMS, META, REDIS, QUEUE))
