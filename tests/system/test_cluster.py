"""Three NATS servers, as `deploy/` has them: those that lead are killed while clients work, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from tests.system.chaos import Ledger, Submitter, keep_running, look
from tests.system.deployed import Deployed, deployed_whole, ends_of_logs

STARTUP = Path(__file__).parent / "startup_for_chaos"
SEED = os.environ.get("SKYBUS_CHAOS_SEED", "1")
SUBMITTERS = ("ann", "bob", "cem")
STREAMS = ("CONSOLE_sim", "LIFE_sim", "DOCS_sim", "KV_STATE_sim")
META = "meta"
PATIENCE = 60
"""Seconds after a fault in which the next items must be done."""


class LeaderFaults:
    """Kills or stops the NATS server that leads a stream, or that places them all, again and again."""

    def __init__(self, place: Deployed, client: Client, seed: str) -> None:
        self._place = place
        self._client = client
        self._random = random.Random(f"{seed} leaders")
        self.said: list[str] = []

    async def run(self, rounds: int) -> None:
        async with self._place.bus() as bus:
            for number in range(rounds):
                await bus.wait_connected()
                what = self._random.choice((*STREAMS, META))
                is_stopped, comes_late = self._random.random() < 0.25, self._random.random() < 0.5
                self.said.append(f"{number}: leader of {what} {'stopped' if is_stopped else 'killed'}")
                leader = await self._leader(bus, what)
                self.said[-1] += f", {leader}"
                await (self._stop(leader) if is_stopped else self._kill(leader, comes_late=comes_late))
                await self._until_done(2)

    async def _leader(self, bus: Bus, what: str) -> str:
        """Find it; there is none while the others are choosing one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    find = self._place.leader_of_meta() if what == META else self._place.leader_of(bus, what)
                    if leader := await find:
                        return leader
                except Exception as error:
                    self.said[-1] += f" ({error!r})"
                await asyncio.sleep(0.1)  # nothing tells when one is chosen

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


async def spread_chaos(root: Path, runs: Path, rounds: int, seed: str) -> None:
    ledger, said = Ledger(), []
    try:
        async with deployed_whole(root, SKYBUS_STARTUP_DIR=str(STARTUP)) as place, place.client() as client:
            await client.open_environment()
            submitters = [Submitter(name, client, ledger, seed) for name in SUBMITTERS]
            work = [asyncio.create_task(submitter.run()) for submitter in submitters]
            care = asyncio.create_task(keep_running(client))
            faults = LeaderFaults(place, client, seed)
            said, hits = faults.said, asyncio.create_task(faults.run(rounds))
            try:
                ended, _ = await asyncio.wait([*work, care, hits], return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
                await end_tasks(work)
                await client.wait("queue_drained", PATIENCE)
                (await look(client, ledger, runs)).check()
            finally:
                await end_tasks([*work, care, hits])
    except BaseException:
        print(f"seed {seed} (SKYBUS_CHAOS_SEED):", *said, sep="\n  ")
        print(ends_of_logs(root))
        raise


@pytest.mark.timeout(240)
async def test_nothing_is_lost_when_servers_that_lead_die(data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir / "place", tmp_path, rounds=3, seed=SEED)


@pytest.mark.slow
@pytest.mark.timeout(5400)
async def test_nothing_is_lost_when_servers_that_lead_die_100_times(
    data_dir: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir / "place", tmp_path, rounds=100, seed=SEED)
