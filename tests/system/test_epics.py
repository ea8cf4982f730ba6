"""An EPICS motor of a soft IOC (caproto) is scanned from the queue: ophyd and pyepics, by Channel Access."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skybus.client.client import Client
from tests.promises import PATIENCE
from tests.servers import free_port
from tests.system.stack import stack_up

STARTUP = Path(__file__).parent / "startup_for_epics"
POSITIONS = [0.2, 0.4, 0.6]


@pytest.fixture
async def channel_access(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A soft IOC with three motor records on loopback; processes started meanwhile search there, and nowhere else."""
    port = str(free_port())
    for name, value in {
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": port,
        "EPICS_CA_REPEATER_PORT": str(free_port()),
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    }.items():
        monkeypatch.setenv(name, value)
    ioc = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "caproto.ioc_examples.fake_motor_record",
        "--prefix", "sim:", "--interfaces", "127.0.0.1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        await until_started(ioc)
        yield
    finally:
        ioc.kill()
        await ioc.wait()


async def until_started(ioc: asyncio.subprocess.Process) -> None:
    assert ioc.stdout
    said = b""
    async with asyncio.timeout(PATIENCE):
        while line := await ioc.stdout.readline():
            said += line
            if b"Server startup complete" in line:
                return
    raise AssertionError(f"the IOC ended with {await ioc.wait()}: {said.decode()}")


async def read_positions(client: Client) -> list[float]:
    """Where the motor was at each event of the next run."""
    positions = []
    async for document in client.documents():
        if document.name == "event":
            positions.append(document.doc["data"]["motor"])
        if document.name == "stop":
            return positions
    raise AssertionError("the documents ended before the run did")


async def test_an_epics_motor_is_scanned_from_the_queue(channel_access: None, data_dir: Path) -> None:
    async with (
        stack_up(data_dir, "--startup-dir", str(STARTUP)) as stack,
        stack.client() as client,
        asyncio.timeout(PATIENCE),
    ):
        await client.open_environment()
        devices = await client.devices()
        assert "user_readback" in devices["motor"]["components"]
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read_positions(client))
            await client.add("scan", ["det"], "motor", POSITIONS[0], POSITIONS[-1], num=len(POSITIONS))
            await client.start()
            await client.wait("queue_drained")
        (done,) = (await client.history()).items
        assert done["result"]["exit_status"] == "completed", done["result"]["traceback"]
        assert reading.result() == pytest.approx(POSITIONS, abs=0.01)
