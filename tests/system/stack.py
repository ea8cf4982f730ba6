"""`skybus up` as a user starts it: a process, its data directory, and what can be done to its parts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import zmq
import zmq.asyncio

from skybus.client.client import Client
from tests.promises import PATIENCE
from tests.servers import free_port

BIN = Path(sys.executable).parent


@dataclass
class RunningStack:
    """A stack that is up."""

    data_dir: Path
    process: asyncio.subprocess.Process
    control: str
    info: str

    def pid_of(self, name: str) -> int:
        """The process of a part: `queue`, `standby`, `worker`, `environment`, `nats`, `valkey` …"""
        return self.find(name).pid

    def find(self, name: str) -> psutil.Process:
        for process in self.processes():
            if _is_part(process, name):
                return process
        raise LookupError(f"no process {name!r} among {[p.name() for p in self.processes()]}")

    def processes(self) -> list[psutil.Process]:
        """All processes that belong to this data directory, wherever they hang."""
        return processes_of(self.data_dir)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid_of(name), number)

    def log(self, name: str) -> str:
        return (self.data_dir / "logs" / f"{name}.log").read_text(errors="replace")

    def client(self, **options) -> Client:
        return Client.connect(data_dir=self.data_dir, **{"connect_timeout": PATIENCE, **options})

    async def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def ask(self, method: str, params: dict | None = None) -> dict:
        """One request over 0MQ."""
        return (await self.ask_raw(json.dumps({"method": method, "params": params or {}}).encode()))[1]

    async def ask_raw(self, data: bytes) -> tuple[bytes, dict]:
        """Any bytes over 0MQ."""
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.REQ)
        try:
            socket.connect(self.control)
            await socket.send(data)
            async with asyncio.timeout(PATIENCE):
                reply = await socket.recv()
            return reply, json.loads(reply)
        finally:
            socket.close(linger=0)
            context.term()


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Processes that work on a data directory: by their environment, or by their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            belongs = process.environ().get("SKYBUS_DATA_DIR") == str(data_dir) or str(data_dir) in " ".join(
                process.cmdline()
            )
            if belongs and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_processes_of(data_dir: Path) -> None:
    """Kill them all; some end by themselves, when what has started them is dead."""
    for process in processes_of(data_dir):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _is_part(process: psutil.Process, name: str) -> bool:
    """Of the queue services the standby is the one that has not connected to NATS."""
    program = "queue" if name == "standby" else name
    try:
        words = [Path(word).name for word in process.cmdline()[:3]]
        is_there = bool({f"skybus-{program}", f"{program}-server"} & set(words))
        return is_there and (program != "queue" or _is_connected(process) == (name == "queue"))
    except psutil.Error:
        return False


def _is_connected(process: psutil.Process) -> bool:
    return bool(process.net_connections("tcp"))


@asynccontextmanager
async def stack_up(data_dir: Path, *options: str, **settings: str) -> AsyncIterator[RunningStack]:
    """Bring a stack up on free ports, and take it down; settings are environment variables of its services."""
    control, info = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}"
    command = [
        str(BIN / "skybus"), "up", "--data-dir", str(data_dir), "--nats-port", str(free_port()),
        "--zmq-control-addr", control, "--zmq-info-addr", info, *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, **settings},
    )
    stack = RunningStack(data_dir.resolve(), process, control, info)
    try:
        await until_ready(process)
        yield stack
    finally:
        await stack.stop()
        kill_processes_of(stack.data_dir)


async def empty(stack: RunningStack) -> None:
    """Put a stack that several tests share back to how it came up."""
    async with stack.client() as client:
        if (await client.status()).worker_environment_exists:
            await client.destroy_environment()
        await client.wait("idle")
        await client.clear()
        await client.clear_history()
        await client.set_mode("default")
        await client.set_autostart(enable=False)


async def until_ready(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    said = ""
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stdout.readline()).decode():
            said += line
            if line.startswith("ready"):
                return said
    raise AssertionError(f"skybus up ended with {await process.wait()}: {said}")


@asynccontextmanager
async def second_up(data_dir: Path) -> AsyncIterator[None]:
    """Bring a stack up that chooses its ports itself."""
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), "up", "--data-dir", str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    try:
        await until_ready(process)
        yield
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    finally:
        kill_processes_of(data_dir)
        await process.wait()


async def lines_of(client: Client, item_uid: str, number: int) -> list[str]:
    """What `print_lines` has printed up to its last line; streams do not wait for each other."""
    text = ""
    async with aclosing(client.console(item_uid=item_uid)) as chunks:
        while f"line {number} of {number}\n" not in text:
            text += (await anext(chunks)).text
    return [line for line in text.splitlines() if line.startswith("line ")]


def lines(number: int) -> list[str]:
    """What `print_lines` prints."""
    return [f"line {n} of {number}" for n in range(1, number + 1)]


async def run_doctor(stack: RunningStack) -> tuple[int | None, list[dict[str, Any]]]:
    """Run `skybus doctor`: how it ends, and what it says of each part."""
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), "doctor", "--json",
        env={**os.environ, "SKYBUS_DATA_DIR": str(stack.data_dir)},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode, json.loads(out)
