"""The reference's own command-line clients, from PyPI in an environment of their own, drive the stack over 0MQ."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks.reference_venv import ensure_venv
from tests.promises import PATIENCE
from tests.system.stack import RunningStack, empty, stack_up

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT, LONG_COUNT = (
    json.dumps({"name": "count", "args": [["det1", "det2"]], "kwargs": {"num": num, "delay": 0.1}})
    for num in (10, 1000)
)


@dataclass
class Qserver:
    """The real `qserver`."""

    folder: Path
    stack: RunningStack

    async def __call__(self, *words: str) -> str:
        process = await self.start("qserver", *words)
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    async def start(self, command: str, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(self.folder / "bin" / command),
            *words,
            env={
                **os.environ,
                "QSERVER_ZMQ_CONTROL_ADDRESS": self.stack.control,
                "QSERVER_ZMQ_INFO_ADDRESS": self.stack.info,
                "PYTHONUNBUFFERED": "1",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    @asynccontextmanager
    async def watching(self, command: str, *words: str) -> AsyncIterator[Watched]:
        watched = Watched(await self.start(command, *words))
        try:
            yield watched
        finally:
            watched.process.kill()
            await watched.process.wait()


@dataclass
class Watched:
    """A command that goes on printing."""

    process: asyncio.subprocess.Process
    said: str = ""

    async def until(self, text: str) -> None:
        assert self.process.stdout
        async with asyncio.timeout(PATIENCE):
            while text not in self.said:
                more = await self.process.stdout.read(4096)
                assert more, f"it ended without saying {text!r}: {self.said}"
                self.said += more.decode()


@pytest.fixture(scope="session")
def reference() -> Path:
    return ensure_venv()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stack() -> AsyncIterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder)) as stack:
            yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def stack(shared_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """The stack of all tests here; each leaves nothing in it."""
    yield shared_stack
    await empty(shared_stack)


@pytest.fixture
def qserver(reference: Path, stack: RunningStack) -> Qserver:
    return Qserver(reference, stack)


async def test_qserver_runs_a_plan_and_drives_another_through_pause_and_resume_to_its_abort(
    qserver: Qserver, stack: RunningStack
) -> None:
    async with stack.client() as client, asyncio.timeout(PATIENCE):
        assert "'manager_state': 'idle'" in await qserver("status")
        await qserver("environment", "open")
        await client.wait(lambda status: status.worker_environment_exists)

        await qserver("queue", "add", "plan", COUNT)
        await qserver("queue", "start")
        await client.wait("queue_drained")
        (done,) = (await client.history()).items
        history = await qserver("history", "get")
        assert (done["result"]["exit_status"], done["result"]["scan_ids"]) == ("completed", [1])
        assert done["result"]["run_uids"][0] in history
        assert "'scan_ids': [1]" in history

        await qserver("queue", "add", "plan", LONG_COUNT)
        await qserver("queue", "start")
        await client.wait(lambda status: status.re_state == "running")
        await qserver("re", "pause", "immediate")
        await client.wait("paused")
        await qserver("re", "resume")
        await client.wait(lambda status: status.re_state == "running")
        await qserver("re", "pause", "immediate")
        await client.wait("paused")
        await qserver("re", "abort")
        await client.wait("idle")
        assert (await client.history()).items[1]["result"]["exit_status"] == "aborted"
        assert [item["name"] for item in (await client.queue()).items] == ["count"]
        assert "'name': 'count'" in await qserver("queue", "get")

        await qserver("environment", "close")
        await client.wait(lambda status: not status.worker_environment_exists)


async def test_qserver_edits_the_queue(qserver: Qserver, stack: RunningStack) -> None:
    async with stack.client() as client, asyncio.timeout(PATIENCE):
        await client.open_environment()
        for name in ("count", "print_lines", "slow_count"):
            args = [] if name == "print_lines" else [["det"]]
            await qserver("queue", "add", "plan", json.dumps({"name": name, "args": args}))
        await qserver("queue", "add", "instruction", "front", "queue-stop")
        await qserver("queue", "item", "move", "back", "1")
        await qserver("queue", "item", "remove", "2")
        assert [item["name"] for item in (await client.queue()).items] == ["queue_stop", "slow_count", "print_lines"]
        await qserver("queue", "mode", "set", "loop", "True")
        assert (await client.status()).plan_queue_mode.loop
        await qserver("queue", "clear")
        assert (await client.status()).items_in_queue == 0


async def test_the_monitors_show_status_and_console_output(qserver: Qserver, stack: RunningStack) -> None:
    async with stack.client() as client, qserver.watching("qserver-console-monitor") as console:
        await client.open_environment()
        await client.add("print_lines", n=9999, delay=0.02)
        await client.start()
        await console.until("line ")  # now it follows
        await client.pause("immediate")
        await client.wait("paused")
        await client.abort()
        await client.wait("idle")
        await client.clear()
        await client.add("print_lines", n=100)
        await client.start()
        await console.until("line 100 of 100")
        shown = [line for line in console.said.splitlines() if line.endswith(" of 100")]
        assert shown == [f"line {n} of 100" for n in range(1, 101)]
    async with qserver.watching("qserver", "monitor") as monitor:
        await monitor.until("manager_state")
