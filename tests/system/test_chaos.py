"""Everything is killed and stopped while clients work: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from skybus.bus.tasks import end_tasks
from tests.system.chaos import PATIENCE, Faults, Ledger, Submitter, follow_console, keep_running, look
from tests.system.stack import stack_up

STARTUP = Path(__file__).parent / "startup_for_chaos"
SEED = os.environ.get("SKYBUS_CHAOS_SEED", "1")
"""Another one, or that of a run which has failed."""
SUBMITTERS = ("ann", "bob", "cem")


async def spread_chaos(data_dir: Path, runs: Path, rounds: int, seed: str) -> None:
    ledger, followed = Ledger(), []
    async with stack_up(data_dir, "--standby", "--startup-dir", str(STARTUP)) as stack, stack.client() as client:
        await client.open_environment()
        print(f"seed {seed} (SKYBUS_CHAOS_SEED)")
        submitters = [Submitter(name, client, ledger, seed) for name in SUBMITTERS]
        work = [asyncio.create_task(submitter.run()) for submitter in submitters]
        care = [asyncio.create_task(each) for each in (keep_running(client), follow_console(client, followed))]
        faults = Faults(stack, client, seed)
        try:
            hits = asyncio.create_task(faults.run(rounds))
            ended, _ = await asyncio.wait([*work, *care, hits], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            await end_tasks(work)
            await client.wait("queue_drained", PATIENCE)
            (await look(client, ledger, runs, followed)).check()
            print(f"seed {seed}: nobody led for", *(f"{seconds:.2f}" for seconds in sorted(faults.outages)), "s")
        except BaseException:
            print_ends(data_dir / "logs")
            raise
        finally:
            await end_tasks([*work, *care, hits])


def print_ends(logs: Path) -> None:
    """What each part has said last."""
    for log in sorted(logs.glob("*.log")):
        print(f"-- {log.name}", *log.read_text(errors="replace").splitlines()[-30:], sep="\n")


@pytest.mark.timeout(5 * PATIENCE)
async def test_nothing_is_lost_or_done_twice_in_20_faults(data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir, tmp_path, rounds=20, seed=SEED)


@pytest.mark.slow
@pytest.mark.timeout(90 * PATIENCE)
async def test_nothing_is_lost_or_done_twice_in_300_faults(data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir, tmp_path, rounds=300, seed=SEED)
