"""The demo instrument of apsbits, as `bits-create` makes it, in the beamline's own Python: nobody here has written it.

Slow: apsbits brings some 270 packages along.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from benchmarks.reference_venv import ensure_apsbits
from tests.system.stack import stack_up

INSTRUMENT = "demo_instrument"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the instrument's package, made by apsbits' own command."""
    (tmp_path / "scripts").mkdir()
    subprocess.run([ensure_apsbits() / "bin" / "bits-create", INSTRUMENT], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_the_demo_instrument_of_apsbits_runs(site: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site / "src"))
    monkeypatch.setenv("SKYBUS_USE_IPYTHON_KERNEL", "1")  # as its own configuration: its devices go to `__main__`
    monkeypatch.setenv("IPYTHONDIR", str(site / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(site)  # it writes its files where it is started
    async with (
        stack_up(
            data_dir,
            "--startup-module", f"{INSTRUMENT}.startup",
            "--environment-python", str(ensure_apsbits() / "bin" / "python"),
        ) as stack,
        stack.client() as client,
        asyncio.timeout(180),
    ):  # fmt: skip
        await client.open_environment()
        assert {"sim_det", "sim_motor"} <= (await client.devices()).keys()
        assert {"count", "rel_scan", "lineup2"} <= (await client.plans()).keys()
        await client.add("count", ["sim_det"], num=2)
        await client.add("rel_scan", ["sim_det"], "sim_motor", -1, 1, 5)
        await client.start()
        await client.wait("queue_drained")
        results = [item["result"] for item in (await client.history()).items]
        assert [result["exit_status"] for result in results] == ["completed", "completed"], results
