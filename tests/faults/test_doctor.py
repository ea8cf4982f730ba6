"""What people are told when a part of the stack does not answer any more."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.promises import PATIENCE
from tests.system.stack import RunningStack, run_doctor, stack_up


async def doctor(stack: RunningStack) -> tuple[int | None, set[str]]:
    """How it ends, and what it misses."""
    code, findings = await run_doctor(stack)
    return code, {finding["part"] for finding in findings if not finding["is_well"]}


async def test_a_part_that_hangs_is_missed_until_it_goes_on(data_dir: Path) -> None:
    async with stack_up(data_dir) as stack, stack.client() as client, asyncio.timeout(PATIENCE):
        await client.wait("idle")
        assert await doctor(stack) == (0, set())
        for part in ("worker", "valkey"):
            process = stack.find(part)
            process.send_signal(signal.SIGSTOP)
            name = "redis" if part == "valkey" else part
            status = await client.wait(lambda status, name=name: name in status.unreachable)
            assert status.manager_state == "idle"
            assert await doctor(stack) == (1, {name})
            process.send_signal(signal.SIGCONT)
            await client.wait(lambda status: not status.unreachable)
