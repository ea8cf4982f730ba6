"""Everything is killed and stopped while clients work: nothing is lost, nothing is done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.chaos import STARTUP, Faults, live_through
from tests.promises import PATIENCE
from tests.seed import SEED
from tests.system.stack import stack_up


async def spread_chaos(data_dir: Path, runs: Path, rounds: int, seed: str) -> None:
    async with (
        stack_up(data_dir, "--standby", "--startup-dir", str(STARTUP)) as stack,
        stack.client() as client,
        stack.client(request_timeout=PATIENCE) as reader,
    ):
        print(f"seed {seed} (SKYBUS_TEST_SEED)")
        faults = Faults(stack, client, seed)
        try:
            await live_through(faults.run(rounds), client, reader, runs, seed)
        except BaseException:
            print_ends(data_dir / "logs")
            raise
        print(f"seed {seed}: nobody led for", *(f"{seconds:.2f}" for seconds in sorted(faults.outages)), "s")


def print_ends(logs: Path) -> None:
    """What each part has said last."""
    for log in sorted(logs.glob("*.log")):
        print(f"-- {log.name}", *log.read_text(errors="replace").splitlines()[-30:], sep="\n")


async def test_nothing_is_lost_or_done_twice_in_20_faults(data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir, tmp_path, rounds=20, seed=SEED)


@pytest.mark.slow
@pytest.mark.timeout(90 * PATIENCE)
async def test_nothing_is_lost_or_done_twice_in_300_faults(data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    await spread_chaos(data_dir, tmp_path, rounds=300, seed=SEED)
