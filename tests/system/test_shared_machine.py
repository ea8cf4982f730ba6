"""`skybus up` on a machine that several people use: other accounts reach nothing over 0MQ unless the owner opens it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
import zmq

from benchmarks.reference_venv import ensure_venv
from tests.promises import PATIENCE
from tests.servers import free_port
from tests.system.stack import BIN, RunningStack, empty, kill_processes_of, run_doctor

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY = 65534
ITEM = {"item_type": "plan", "name": "count", "args": [["det1"]]}
ANN = {"user": "ann", "user_group": "primary"}
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another account")


@dataclass
class Announced(RunningStack):
    """A stack, and what it prints."""

    said: str = ""

    async def until_said(self, *words: str) -> str:
        """Read what is printed up to a line with all these words."""
        assert self.process.stdout
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stdout.readline()).decode():
                self.said += line
                if all(word in line for word in words):
                    return line
        raise AssertionError(f"skybus up has ended: {self.said}")


async def start(data_dir: Path, *options: str, **exported: str) -> Announced:
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), "up", "--data-dir", str(data_dir), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, **exported},
    )  # fmt: skip
    return Announced(data_dir.resolve(), process, "", "")


def exported(line: str) -> dict[str, str]:
    """The variables of a line `…: export NAME=VALUE …`."""
    words = shlex.split(line.partition("export ")[2])
    return dict(word.split("=", 1) for word in words)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stack() -> AsyncIterator[tuple[Announced, dict[str, str]]]:
    """A stack without options, and the variables that it prints; its data directory lies where everybody reaches it."""
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        Path(folder).chmod(0o755)
        stack = await start(Path(folder))
        try:
            variables = exported(await stack.until_said("qserver"))
            stack.control, stack.info = variables["QSERVER_ZMQ_CONTROL_ADDRESS"], variables["QSERVER_ZMQ_INFO_ADDRESS"]
            yield stack, variables
        finally:
            await stack.stop()
            kill_processes_of(stack.data_dir)


@pytest_asyncio.fixture(loop_scope="module")
async def stack(shared_stack: tuple[Announced, dict[str, str]]) -> AsyncIterator[Announced]:
    yield shared_stack[0]
    await empty(shared_stack[0])


def sockets(stack: RunningStack) -> list[Path]:
    return [Path(address.removeprefix("ipc://")) for address in (stack.control, stack.info)]


async def test_0mq_listens_on_socket_files_of_the_owner_alone(stack: Announced):
    for path in sockets(stack):
        assert path.is_relative_to(stack.data_dir)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    connections = stack.find("bridge").net_connections("tcp")
    assert [each for each in connections if each.status == psutil.CONN_LISTEN] == []


@needs_root
async def test_another_account_cannot_connect_to_the_sockets(stack: Announced):
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    for path in sockets(stack):
        path.parent.chmod(0o711)  # so that the mode of the file alone counts
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/env", "python3", "-c", code, str(path), user=NOBODY, group=NOBODY, cwd="/",
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await process.communicate()
        path.parent.chmod(0o700)
        assert b"PermissionError" in errors


async def test_the_references_client_works_with_the_variables_that_up_prints(
    stack: Announced, shared_stack: tuple[Announced, dict[str, str]]
):
    process = await asyncio.create_subprocess_exec(
        str(ensure_venv() / "bin" / "qserver"), "status", env={**os.environ, **shared_stack[1]},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        said, _ = await process.communicate()
    assert "'manager_state': 'idle'" in said.decode()


async def test_doctor_looks_at_the_socket_file(stack: Announced):
    _, findings = await run_doctor(stack)
    (bridge,) = [each for each in findings if each["part"] == "bridge"]
    assert (bridge["is_well"], bridge["what"]) == (True, f"listens on {stack.control}")


async def test_what_came_over_0mq_says_so_wherever_its_user_is_shown(stack: Announced):
    """The user is a claim: nobody has verified it."""
    async with stack.client() as client:
        await client.open_environment()
        assert (await stack.ask("queue_item_add", {"item": ITEM, **ANN}))["item"]["via"] == "bridge"
        await client.add("count", ["det1"])
        ann, operator = (await client.queue()).items
        assert (ann["user"], ann.get("via")) == ("ann", "bridge")
        assert (operator["user"], operator.get("via")) == ("operator", None)
        assert "ann (via bridge)" in await cli(stack, "queue", "list")

        async with aclosing(client.console(last=1000, service="queue")) as chunks:
            said = ""
            while "Item added" not in said or "via=bridge" not in said:
                said += (await anext(chunks)).text

        await client.start()
        await client.wait("queue_drained")
        assert [item.get("via") for item in (await client.history()).items] == ["bridge", None]
        assert "ann (via bridge)" in await cli(stack, "history", "list")

        locked = await stack.ask("lock", {"queue": True, "lock_key": "key", "user": "ann"})
        assert locked["lock_info"]["via"] == "bridge"
        assert "locked by 'ann' (via bridge)" in (await stack.ask("queue_clear"))["msg"]
        assert (await stack.ask("unlock", {"lock_key": "key"}))["success"]
        assert (await stack.ask("lock_info"))["lock_info"]["via"] is None


async def cli(stack: RunningStack, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), *words, env={**os.environ, "SKYBUS_DATA_DIR": str(stack.data_dir)},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode()


async def test_up_says_who_reaches_a_tcp_socket_and_gives_the_key_to_the_bridge_alone(data_dir: Path):
    _, private = zmq.curve_keypair()
    address = f"tcp://127.0.0.1:{free_port()}"
    stack = await start(
        data_dir, "--zmq-control-addr", address, SKYBUS_ZMQ_PRIVATE_KEY=private.decode(), SKYBUS_ZMQ_METHODS="read"
    )
    try:
        said = await stack.until_said("0MQ is open")
        await stack.until_said("qserver", f"QSERVER_ZMQ_CONTROL_ADDRESS={address}")
        assert "has the public key" in said
        assert "docs/security.md" in said
        holders = {name for name in ("bridge", "queue", "worker", "auth") if private.decode() in environ(stack, name)}
        assert holders == {"bridge"}
    finally:
        await stack.stop()
        kill_processes_of(stack.data_dir)


def environ(stack: RunningStack, name: str) -> list[str]:
    return list(stack.find(name).environ().values())


READABLE_BY = """
import os, socket, sys
for path in sys.argv[1:]:
    if os.access(path, os.R_OK if not os.path.isdir(path) else os.R_OK | os.X_OK):
        print(path)
"""


@needs_root
async def test_another_account_reads_nothing_but_addresses_although_it_reaches_the_data_directory(stack: Announced):
    async with stack.client() as client:
        await client.open_environment()
    paths = [str(path) for path in stack.data_dir.rglob("*")]
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/env", "python3", "-c", READABLE_BY, *paths, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert {Path(line).name for line in out.decode().splitlines()} <= {"listen.json", "ports.json", "worker.json"}
    assert str(stack.data_dir / "credentials" / "operator.json") in paths


@pytest.mark.parametrize("known", [{}, {"user": "operator", "pass": "guessed"}])
async def test_the_nats_server_takes_nobody_without_credentials(stack: Announced, known: dict[str, str]):
    port = int(json.loads((stack.data_dir / "listen.json").read_text())["nats"].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"CONNECT {json.dumps({**known, 'verbose': True})}\r\nPING\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        said = await reader.read()
    writer.close()
    assert b"Authorization Violation" in said
    assert b"PONG" not in said
