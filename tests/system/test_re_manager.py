"""`skybus re-manager` as a site starts it: its flags and files, its sockets, its terminal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest
import yaml
import zmq
import zmq.asyncio

from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from tests.promises import PATIENCE
from tests.servers import Valkey
from tests.system.stack import BIN, kill_processes_of

PUBLIC, PRIVATE = (key.decode() for key in zmq.curve_keypair())
WHO = {"user": "visitor", "user_group": "primary"}
KEY = "QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER"


@dataclass
class Site:
    """A folder with what a site has: a Redis, a configuration file, sockets."""

    folder: Path
    valkey: Valkey

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def control(self) -> str:
        return f"ipc://{self.folder}/control"

    @property
    def info(self) -> str:
        return f"ipc://{self.folder}/info"

    def configure(self, **sections: dict[str, Any]) -> Path:
        """Write a configuration; the sockets and Redis are this site's."""
        network = {"zmq_control_addr": self.control, "zmq_info_addr": self.info, "redis_addr": self.valkey.url}
        file = self.folder / "config.yml"
        file.write_text(yaml.safe_dump({**sections, "network": {**network, **sections.get("network", {})}}))
        return file

    async def start(self, *words: str, **environ: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(BIN / "skybus"),
            "re-manager",
            *words,
            env={**os.environ, "SKYBUS_DATA_DIR": str(self.data_dir), **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    @asynccontextmanager
    async def running(self, *words: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A stack that has been started with its configuration, from when it answers."""
        process = await self.start(*words, QSERVER_CONFIG=str(self.folder / "config.yml"), **environ)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            async with asyncio.timeout(PATIENCE):
                await process.wait()
            kill_processes_of(self.data_dir)


@pytest.fixture
async def site(data_dir: Path, valkey: Valkey) -> Site:
    return Site(data_dir, valkey)


@dataclass
class Peer:
    """A 0MQ client that speaks msgpack over an encrypted connection."""

    socket: zmq.asyncio.Socket

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        await self.socket.send(msgpack.packb({"method": method, "params": params}) or b"")
        async with asyncio.timeout(PATIENCE):
            return msgpack.unpackb(await self.socket.recv())


@asynccontextmanager
async def peer(address: str, server_key: str = "") -> AsyncIterator[Peer]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.REQ)
    if server_key:
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_serverkey = server_key.encode()
    try:
        socket.connect(address)
        yield Peer(socket)
    finally:
        socket.close(linger=0)
        context.term()


@asynccontextmanager
async def subscribed(address: str, *topics: str) -> AsyncIterator[zmq.asyncio.Socket]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    try:
        socket.connect(address)
        for topic in topics:
            socket.subscribe(topic)
        yield socket
    finally:
        socket.close(linger=0)
        context.term()


async def until_ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout
    async with asyncio.timeout(PATIENCE):
        while not (line := await process.stdout.readline()).startswith(b"ready"):
            assert line, "it has ended"


async def test_a_plan_runs_over_msgpack_curve_and_unix_sockets(site: Site) -> None:
    """All of it by a configuration file, but for the key; what is left of a former socket is no obstacle.

    Who does not know the key is not answered.
    """
    subprocess.run(["python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).bind('{site.folder}/control')"])
    site.configure(network={"zmq_encoding": "msgpack", "zmq_publish_console": True})
    async with (
        site.running(**{KEY: PRIVATE}) as process,
        subscribed(site.info, "QS_Console", "QS_Info") as published,
        peer(site.control, PUBLIC) as client,
    ):
        await until_ready(process)
        async with peer(site.control) as stranger:
            asked = asyncio.create_task(stranger.ask("status"))
            assert (await client.ask("status"))["manager_state"] == "idle"
            assert not asked.done()
            await end_tasks([asked])
        assert (await client.ask("environment_open"))["success"]
        console, infos = "", []
        async with asyncio.timeout(PATIENCE):
            while "RE Environment is ready" not in console or not infos[-1]["worker_environment_exists"]:
                topic, body = await published.recv_multipart()
                payload = msgpack.unpackb(body)
                assert set(payload) == {"time", "msg"}
                if topic == b"QS_Console":
                    console += payload["msg"]
                else:
                    infos.append(payload["msg"]["status"])
        item = {"item_type": "plan", "name": "count", "args": [["det"]]}
        assert (await client.ask("queue_item_execute", item=item, **WHO))["success"]
        async with (
            Client.connect(data_dir=site.data_dir, connect_timeout=PATIENCE) as watcher,
            asyncio.timeout(PATIENCE),
        ):
            await watcher.wait(lambda status: status.items_in_history == 1)
        (done,) = (await client.ask("history_get"))["items"]
        assert done["result"]["exit_status"] == "completed"
        assert (site.folder / "control").stat().st_mode & 0o022 == 0  # nobody else may connect
    assert process.returncode == 0


async def test_the_terminal_shows_the_console_or_nothing_and_plan_code_sees_no_keys(site: Site) -> None:
    script = site.folder / "startup.py"
    script.write_text(
        "import os\nprint('keys:', [n for n, v in os.environ.items() if v in ('secret-1', 'secret-2')])\n"
    )
    beside = [f"--startup-script={script}", f"--existing-plans-devices={site.folder}"]
    site.configure(operation={"emergency_lock_key": "secret-1"}, network={"zmq_encoding": "msgpack"})
    options = [*beside, f"--user-group-permissions={permissions(site.folder)}"]
    for is_shown in (True, False):
        output = f"--console-output={'ON' if is_shown else 'OFF'}"
        async with site.running(output, *options, QSERVER_EMERGENCY_LOCK_KEY_FOR_SERVER="secret-2") as process:
            assert process.stdout
            out = b""
            async with asyncio.timeout(PATIENCE), connected(site) as client:
                await client.open_environment()
                async with aclosing(client.console(last=100)) as chunks:
                    printed = ""
                    while "keys: []" not in printed:
                        printed += (await anext(chunks)).text
                while is_shown and b"keys: []" not in out:
                    out += (line := await process.stdout.readline())
                    assert line, out
                process.send_signal(signal.SIGTERM)
                rest, errors = await process.communicate()
            assert errors == b""
            assert is_shown or rest == b""


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[Client]:
    """A client, once there is something that answers over 0MQ: with no output there is no other sign."""
    async with peer(site.control) as first:
        await first.ask("history_get")
    async with Client.connect(data_dir=site.data_dir, connect_timeout=PATIENCE) as client:
        await client.wait("idle")
        yield client


def permissions(folder: Path) -> Path:
    file = folder / "user_group_permissions.yaml"
    groups = {name: {"allowed_plans": [None], "allowed_devices": [None]} for name in ("root", "primary")}
    file.write_text(yaml.safe_dump({"user_groups": groups}))
    return file


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["--startup-dir=/nowhere"], 1, "/nowhere"),
        (["--redis-addr=redis://:secret@localhost:1"], 1, "redis://localhost:1"),
        (["--zmq-control-addr=udp://x"], 1, "udp://x"),
        (["--zmq-control-addr=ipc:///etc/passwd"], 1, "/etc/passwd"),
        (["--startup-dir=a", "--startup-module=b"], 2, "--startup-module"),
    ],
)
async def test_what_cannot_work_ends_it_with_a_sentence(site: Site, words: list[str], code: int, named: str) -> None:
    process = await site.start(f"--redis-addr={site.valkey.url}", *words)
    async with asyncio.timeout(PATIENCE):
        _, errors = await process.communicate()
    said = errors.decode()
    assert process.returncode == code
    assert named in said
    assert "secret" not in said
    assert "Traceback" not in said


async def run(*words: str, **environ: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"),
        *words,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PATIENCE):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_keys_are_made_and_recovered() -> None:
    code, said = await run("zmq-keys", "--zmq-private-key", PRIVATE)
    assert (code, PUBLIC in said, PRIVATE in said) == (0, True, True)
    keys = [line.rpartition(" ")[2] for line in (await run("zmq-keys"))[1].splitlines()]
    assert zmq.curve_public(keys[0].encode()).decode() == keys[1]
    assert (await run("zmq-keys", "--zmq-private-key", "short"))[0] == 1


async def test_a_lock_is_cleared_in_redis(valkey: Valkey) -> None:
    from redis import Redis

    with Redis.from_url(valkey.url) as redis:
        redis.set("qs_default:sim:lock", json.dumps({}))
        code, said = await run("clear-lock", "--redis-addr", valkey.url, SKYBUS_DATA_DIR="/nowhere")
        assert (code, redis.get("qs_default:sim:lock")) == (0, None), said
        redis.set("sky:sim:lock", json.dumps({}))
        code, said = await run("clear-lock", SKYBUS_DATA_DIR="/nowhere", SKYBUS_REDIS_URL=valkey.url)
        assert (code, redis.get("sky:sim:lock")) == (0, None), said
    assert (await run("clear-lock", "--redis-addr=localhost:1"))[0] == 1


async def test_plans_and_devices_of_startup_code_are_listed(tmp_path: Path) -> None:
    (tmp_path / "00.py").write_text("def a_plan(n: int):\n    yield from []\n")
    code, said = await run("list-plans-devices", f"--startup-dir={tmp_path}", f"--file-dir={tmp_path}")
    assert code == 0, said
    assert set(yaml.safe_load((tmp_path / "existing_plans_and_devices.yaml").read_text())["existing_plans"]) == {
        "a_plan"
    }
    (tmp_path / "01.py").write_text("1 / 0\n")
    code, said = await run("list-plans-devices", f"--startup-dir={tmp_path}", f"--file-dir={tmp_path}")
    assert code == 1
    assert "01.py" in said
    assert (await run("list-plans-devices"))[0] == 1
