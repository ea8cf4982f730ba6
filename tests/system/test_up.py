"""`skybus up`: one stack on a data directory, a clean start, a clean end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from pathlib import Path

import pytest

from skybus.client.client import Client
from tests.promises import PATIENCE, within
from tests.system.stack import BIN, processes_of, second_up, stack_up


async def up(*options: str) -> tuple[int, str]:
    """Run `skybus up` that is expected to refuse."""
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), "up", *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


def ports_of(data_dir: Path) -> list[int]:
    listen = json.loads((data_dir / "listen.json").read_text())
    addresses = [listen[name] for name in ("nats", "zmq_control", "zmq_info")]
    return [int(address.rpartition(":")[2]) for address in addresses if not address.startswith("ipc://")]


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock.connect_ex(("127.0.0.1", port)) != 0


async def test_a_second_up_on_the_same_folder_names_the_first(data_dir: Path) -> None:
    async with stack_up(data_dir) as first:
        code, said = await up("--data-dir", str(data_dir))
        assert code == 1
        assert str(first.process.pid) in said
        assert "in use" in said


async def test_two_stacks_on_two_folders_share_a_machine(data_dir: Path, tmp_path: Path) -> None:
    """Ports that nobody asked for are chosen among those that are free."""
    async with second_up(data_dir), second_up(tmp_path):
        assert not set(ports_of(data_dir)) & set(ports_of(tmp_path))


async def test_up_has_its_own_servers_where_those_of_a_cluster_are_exported(data_dir: Path) -> None:
    nowhere = {"SKYBUS_NATS_URL": "nats://127.0.0.1:1", "SKYBUS_REDIS_URL": "redis://127.0.0.1:1"}
    other = {"SKYBUS_REPLICAS": "3", "SKYBUS_CREDENTIALS_FILE": "/nowhere/operator.json", "SKYBUS_INSTRUMENT": "srx"}
    async with stack_up(data_dir, **nowhere, **other), Client.connect(data_dir=data_dir) as client:
        assert client.bus.subjects.inst == "srx"
        assert (await client.status()).manager_state == "idle"


@pytest.mark.parametrize("option", ["--nats-port", "--zmq-control-addr"])
async def test_a_port_that_was_asked_for_and_is_taken_is_named(data_dir: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        value = str(port) if option == "--nats-port" else f"tcp://127.0.0.1:{port}"
        code, said = await up("--data-dir", str(data_dir), option, value)
    assert code == 1
    assert f"port {port}" in said
    assert processes_of(data_dir) == []


async def test_a_service_that_cannot_start_is_named_with_its_reason(data_dir: Path) -> None:
    code, said = await up("--data-dir", str(data_dir), "--user-group-permissions", "/nowhere/permissions.yaml")
    assert code == 1
    assert "auth did not start" in said
    assert "/nowhere/permissions.yaml" in said
    assert processes_of(data_dir) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@within(5)
async def test_everything_stops_also_while_a_plan_runs(data_dir: Path, number: int, limit: float) -> None:
    async with stack_up(data_dir) as stack:
        async with stack.client() as client:
            await client.open_environment()
            await client.add("slow_count", ["det"], num=1000, delay=0.1)
            await client.start()
            await client.wait(lambda status: status.re_state == "running")
        ports = ports_of(data_dir)
        begin = time.monotonic()
        assert await stack.stop(number) == 0
        assert time.monotonic() - begin < limit
        assert processes_of(data_dir) == []
        assert all(is_free(port) for port in ports)
        assert not (data_dir / "listen.json").exists()
        assert list((data_dir / "run").glob("*.notify")) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_twenty_starts_and_stops_leave_nothing(data_dir: Path) -> None:
    for _ in range(20):
        async with stack_up(data_dir) as stack:
            ports = ports_of(data_dir)
            assert await stack.stop(signal.SIGINT) == 0
            assert processes_of(data_dir) == []
            assert all(is_free(port) for port in ports)
            left = {path.name for path in data_dir.rglob("*") if path.is_socket()}
            assert left == set()
