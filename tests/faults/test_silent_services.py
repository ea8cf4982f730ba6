"""Services that live and stand still are started again by the stack."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from skybus.stack.up import SERVICES
from tests.promises import PATIENCE
from tests.system.stack import stack_up


async def test_silent_services_are_started_again_while_a_plan_runs(data_dir: Path) -> None:
    """What was asked meanwhile is answered after, and the plan goes on."""
    async with stack_up(data_dir) as stack, stack.client(request_timeout=60) as client, asyncio.timeout(PATIENCE):
        await client.open_environment()
        await client.add("slow_count", ["det"], num=1000, delay=0.1)
        await client.start()
        await client.wait(lambda status: status.re_state == "running")
        environment = stack.find("environment")
        silent = {name: stack.find(name) for name in SERVICES}
        for process in silent.values():
            process.send_signal(signal.SIGSTOP)

        await client.add("count", ["det"])
        for process in silent.values():
            await asyncio.to_thread(process.wait)
        for name in SERVICES:
            assert "Fatal Python error: Aborted" in stack.log(name)
        status = await client.wait(lambda status: not status.unreachable and status.re_state == "running")
        assert status.items_in_queue == 1
        assert stack.find("environment") == environment
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & environment.environ().keys()
        assert (await stack.ask("status"))["items_in_queue"] == 1
