"""Ports that nobody asked for: stacks that start at the same time, and parts that are started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.promises import PATIENCE
from tests.system.stack import BIN, RunningStack, kill_processes_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
KERNEL = ("--use-ipython-kernel", "ON", "--ipython-kernel-ip", "127.0.0.1")


@dataclass
class ChosenStack(RunningStack):
    """A stack that has chosen its ports, and what `skybus up` prints."""

    def listen(self) -> dict[str, str]:
        return json.loads((self.data_dir / "listen.json").read_text())

    async def until_said(self, *words: str) -> str:
        """Read what is printed up to a line with all these words."""
        assert self.process.stdout
        said = ""
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stdout.readline()).decode():
                said += line
                if all(word in line for word in words):
                    return line
        raise AssertionError(f"skybus up has ended: {said}")


async def start(data_dir: Path, *options: str) -> ChosenStack:
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), "up", "--data-dir", str(data_dir), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return ChosenStack(data_dir.resolve(), process, "", "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stacks() -> AsyncIterator[tuple[ChosenStack, ChosenStack]]:
    """Two stacks that start at the same time and want the same ports; the second one has an IPython kernel."""
    with tempfile.TemporaryDirectory(prefix="sky") as one, tempfile.TemporaryDirectory(prefix="sky") as other:
        started = await asyncio.gather(start(Path(one)), start(Path(other), *KERNEL))
        try:
            for stack in started:
                ready = await stack.until_said("ready in")
                stack.control, stack.info = stack.listen()["zmq_control"], stack.listen()["zmq_info"]
                assert stack.listen()["nats"] in ready
            yield started
        finally:
            for stack in started:
                await stack.stop()
                kill_processes_of(stack.data_dir)


async def test_two_stacks_that_start_at_the_same_time_both_have_ports_of_their_own(stacks):
    addresses = [stack.listen()[name] for stack in stacks for name in ("nats", "zmq_control", "zmq_info")]
    assert len(set(addresses)) == 6
    one, other = stacks
    async with one.client() as client:
        await client.add_item({"item_type": "instruction", "name": "queue_stop"})
        assert (await one.ask("status"))["items_in_queue"] == 1
        assert (await other.ask("status"))["items_in_queue"] == 0
        await client.clear()


@pytest.mark.parametrize("part", ["nats", "bridge"])
async def test_a_part_that_is_started_again_keeps_its_port(stacks, part: str):
    stack = stacks[0]
    before = stack.listen()
    pid = stack.pid_of(part)
    stack.kill(part)
    await stack.until_said("a process has died", part)
    async with asyncio.timeout(PATIENCE), stack.client() as client:  # which connects to where NATS was
        await client.wait("idle")
        await answered(stack)
    assert stack.listen() == before
    assert stack.pid_of(part) != pid


async def answered(stack: RunningStack) -> None:
    """Wait for an answer over 0MQ; a request that comes while the services connect anew is refused."""
    async with asyncio.timeout(PATIENCE):
        while not (await stack.ask("status")).get("manager_state"):
            pass


async def test_who_has_taken_the_address_of_a_part_is_said_and_the_part_comes_back(stacks):
    stack = stacks[0]
    stack.process.send_signal(signal.SIGSTOP)  # so that the address is free for a while
    stack.kill("bridge")
    with taken(stack.control):
        stack.process.send_signal(signal.SIGCONT)
        said = await stack.until_said("a process has died", "another program listens there")
    assert stack.control in said
    await answered(stack)


@contextmanager
def taken(address: str) -> Iterator[None]:
    """Listen where another program has listened."""
    path = Path(address.removeprefix("ipc://"))
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        yield
    path.unlink()


async def test_up_hands_the_kernel_options_on(stacks):
    stack = stacks[1]
    async with stack.client() as client:
        await client.open_environment(timeout=60)
        assert (await stack.ask("config_get"))["config"]["ip_connect_info"]["ip"] == "127.0.0.1"
        await client.close_environment(timeout=60)


async def test_the_demo_runs_beside_other_stacks_and_without_their_settings(stacks):
    of_another_stack = {
        "SKYBUS_DATA_DIR": str(stacks[0].data_dir),
        "SKYBUS_INSTRUMENT": "other",
        "SKYBUS_NATS_URL": stacks[0].listen()["nats"],
        "SKYBUS_STARTUP_DIR": "/nowhere",
        "SKYBUS_ZMQ_ENCODING": "msgpack",
    }
    demo = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), "demo", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **of_another_stack},
    )  # fmt: skip
    async with asyncio.timeout(100):
        said = (await demo.communicate())[0].decode()
    assert demo.returncode == 0, said
    assert "done: everything has stopped" in said


async def test_ctrl_c_while_the_demo_starts_leaves_nothing(tmp_path: Path):
    demo = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"), "demo", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)}, start_new_session=True,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        assert demo.stdout
        assert b"skybus up" in await demo.stdout.readline()
        os.killpg(demo.pid, signal.SIGINT)
        said = (await demo.communicate())[0].decode()
    assert demo.returncode == 130, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
