"""A service that lives and does not report so is started again, with its stacks in its log."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from skybus.bus.api.permissions import PERMISSIONS_GET
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Empty
from skybus.bus.tasks import end_tasks
from skybus.stack.child import Child
from skybus.stack.notify_socket import NotifySocket
from tests.integration.auth_fixtures import queue_service
from tests.promises import PATIENCE
from tests.servers import NatsServer

SILENCE = 2.0
HANGS_ON_SIGNAL = Path(__file__).parent / "hangs_on_signal"


@asynccontextmanager
async def watched_auth(nats: NatsServer) -> AsyncIterator[Child]:
    """The auth service, watched as `skybus up` does."""
    reports = NotifySocket(nats.data_dir / "auth.notify")
    child = Child(
        "auth",
        [str(Path(sys.executable).parent / "skybus-auth")],
        nats.data_dir / "auth.log",
        reports.until_ready,
        environment={"SKYBUS_DATA_DIR": str(nats.data_dir), "PYTHONPATH": str(HANGS_ON_SIGNAL)},
        reports=reports,
        silence=SILENCE,
    )
    await child.start()
    watcher = asyncio.create_task(child.watch())
    try:
        yield child
    finally:
        await child.stop(PATIENCE)
        await end_tasks([watcher])
        reports.close()


@pytest.fixture
async def auth(nats: NatsServer) -> AsyncIterator[Child]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(queue_service(nats))
        yield await stack.enter_async_context(watched_auth(nats))


@pytest.fixture
async def operator(nats: NatsServer) -> AsyncIterator[Bus]:
    async with nats.bus("operator") as bus:
        yield bus


def process_of(child: Child) -> psutil.Process:
    assert child._process
    return psutil.Process(child._process.pid)


async def answered(bus: Bus) -> None:
    """Ask until there is an answer, as clients do."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await bus.call(PERMISSIONS_GET, Empty(), timeout=1)
            except UnavailableError:
                continue
            return


@pytest.mark.parametrize(
    ("number", "stack"),
    [(signal.SIGUSR1, "in hang_for_ever"), (signal.SIGSTOP, "(most recent call first)")],  # of what goes on meanwhile
    ids=["hang", "stop"],
)
async def test_a_silent_service_is_started_again_with_its_stacks_in_its_log(
    auth: Child, operator: Bus, number: int, stack: str
) -> None:
    await answered(operator)
    silent = process_of(auth)
    silent.send_signal(number)
    asked = asyncio.create_task(answered(operator))
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(silent.wait)
    await asked
    said = auth.log_file.read_text()
    assert "Fatal Python error: Aborted" in said
    assert stack in said, said


async def test_a_service_is_not_silent_because_the_machine_was_asleep(auth: Child, operator: Bus) -> None:
    watched = process_of(auth)
    watched.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * SILENCE)  # our loop, which is that of the stack, does not run either
    watched.send_signal(signal.SIGCONT)
    assert auth.reports
    auth.reports.forget()
    async with asyncio.timeout(PATIENCE):
        await auth.reports._heard.wait()
    await answered(operator)
    assert watched.is_running()
