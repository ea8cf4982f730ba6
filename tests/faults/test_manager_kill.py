"""`manager_kill` ends the queue service: nobody is answered, the stack starts it again, the plan does not notice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import zmq
import zmq.asyncio

from skybus.bus.api.manager import MANAGER_KILL, ManagerKill
from skybus.bus.errors import UnavailableError
from tests.promises import PATIENCE
from tests.system.stack import RunningStack, stack_up


@asynccontextmanager
async def asked(stack: RunningStack, method: str) -> AsyncIterator[zmq.asyncio.Socket]:
    """Send a request over 0MQ; yields the socket on which its reply would come."""
    with zmq.asyncio.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(stack.control)
        await socket.send(json.dumps({"method": method}).encode())
        yield socket


async def test_a_killed_manager_is_back_with_lock_and_autostart_and_the_plan_went_on(data_dir: Path) -> None:
    async with stack_up(data_dir) as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        await client.open_environment()
        await client.set_autostart(enable=True)
        await client.add("print_lines", n=100, delay=0.1)
        await client.wait(lambda status: status.manager_state == "executing_queue")
        lock = await stack.ask("lock", {"environment": True, "lock_key": "the key", "user": "ann"})
        victim, environment = stack.find("queue"), stack.pid_of("environment")
        async with asked(stack, "manager_kill") as socket:
            await asyncio.to_thread(victim.wait)
            status = await client.wait(lambda status: status.manager_state == "executing_queue")
            assert await socket.poll(0) == 0
        assert stack.pid_of("queue") != victim.pid
        assert stack.pid_of("environment") == environment
        assert (status.queue_autostart_enabled, status.lock.environment) == (True, True)
        assert status.lock_info_uid == lock["lock_info_uid"]
        await client.wait("queue_drained")
        (done,) = (await client.history()).items
        assert done["result"]["exit_status"] == "completed"


async def test_a_new_stack_keeps_the_lock_and_forgets_autostart(data_dir: Path) -> None:
    async with stack_up(data_dir) as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        await client.set_autostart(enable=True)
        lock = await stack.ask("lock", {"queue": True, "lock_key": "the key", "user": "ann"})
        victim = stack.find("queue")
        try:
            await client.call(MANAGER_KILL, ManagerKill(), timeout=0.5)
        except UnavailableError:
            await asyncio.to_thread(victim.wait)
        status = await client.wait(lambda status: status.manager_state == "idle")
        assert status.queue_autostart_enabled
        said = [chunk.text async for chunk in client.console(service="queue", follow=False)]
        assert "".join(said).count("Queue service kills itself") == 1
    async with stack_up(data_dir) as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        status = await client.wait("idle")
        assert not status.queue_autostart_enabled
        assert (await stack.ask("lock_info"))["lock_info"] == lock["lock_info"]
