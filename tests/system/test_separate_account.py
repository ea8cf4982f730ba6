"""Plan code runs in an account of its own, from which the secrets and the processes of the stack are out of reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from skybus.stack.account import Account
from tests.system.stack import RunningStack, kill_processes_of, processes_of, stack_up

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY = "nobody"


def can_run_python() -> bool:
    """Whether we may become another account, and that one reaches our Python."""
    if os.getuid() != 0:
        return False
    try:
        return subprocess.run([sys.executable, "-c", "import skybus.worker"], user=NOBODY, cwd="/").returncode == 0
    except PermissionError:
        return False


needs_account = pytest.mark.skipif(not can_run_python(), reason="no other account that can run this Python")

ATTEMPTS = """
import json, os, socket

def outcome(attempt, *args):
    try:
        attempt(*args)
    except OSError as error:
        return type(error).__name__
    return "done"

def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)

files, sockets, pids = {files}, {sockets}, {pids}
seen = [outcome(open, file) for file in files] + [outcome(connect, path) for path in sockets]
seen += [outcome(os.kill, pid, 0) for pid in pids]
seen += [outcome(open, f"/proc/{{pid}}/environ") for pid in pids]
print("outcomes:", json.dumps(seen), os.getuid(), os.environ["HOME"], flush=True)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder), SKYBUS_ENVIRONMENT_USER=NOBODY) as stack:
            try:
                yield stack
            finally:
                await stack.stop()
                kill_processes_of(stack.data_dir / "separate")


@needs_account
async def test_plan_code_of_another_account_reaches_no_secret_and_no_process_of_the_stack(stack: RunningStack):
    files = [str(stack.data_dir / "credentials" / f"{name}.json") for name in ("operator", "queue")]
    files += [str(stack.data_dir / "nats" / "server.conf"), str(stack.data_dir / "logs" / "queue.log")]
    sockets = [str(stack.data_dir / "run" / "valkey.sock")]
    pids = [stack.pid_of(name) for name in ("queue", "bridge", "nats", "valkey")]
    async with stack.client() as client:
        await client.open_environment()
        await client.run_script(ATTEMPTS.format(files=files, sockets=sockets, pids=pids))
        said = ""
        async for chunk in client.console(last=1000):
            said += chunk.text
            if "outcomes:" in said and said.endswith("\n"):
                break
    outcomes, _, rest = said.partition("outcomes: ")[2].partition("]")
    assert set(json.loads(outcomes + "]")) == {"PermissionError"}
    assert rest.split()[:1] == [str(Account.named(NOBODY).uid)]


@needs_account
async def test_plans_run_and_are_filed_where_plan_code_has_an_account_of_its_own(stack: RunningStack):
    async with stack.client() as client:
        if not (await client.status()).worker_environment_exists:
            await client.open_environment()
        await client.add("count", ["det1"], num=2)
        await client.start()
        await client.wait("queue_drained")
        (done,) = (await client.history()).items
        assert done["result"]["exit_status"] == "completed"
        await client.destroy_environment()
        await client.wait(lambda status: not status.worker_environment_exists)
    assert {stack.find(name).uids().real for name in ("queue", "bridge", "nats")} == {0}
    assert {process.uids().real for process in processes_of(stack.data_dir / "separate")} == {Account.named(NOBODY).uid}
