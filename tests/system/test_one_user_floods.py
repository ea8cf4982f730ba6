"""One person sends hundreds of megabytes at once: nobody else loses a request, and no service its connection."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import orjson
import psutil
import pytest

from skybus.bus.packing import PEOPLE_PAYLOAD
from tests.promises import PATIENCE
from tests.system.stack import stack_up

NUMBER = 370
SUBJECT = "sky.sim.cmd.operator.queue.item.remove_batch"


@pytest.mark.slow
async def test_hundreds_of_megabytes_of_one_user_are_answered_or_refused_and_others_are_served() -> None:
    body = orjson.dumps({"uids": ["x" * 200] * (PEOPLE_PAYLOAD * 95 // 100 // 203)})
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder)) as stack, stack.client() as client:
            queue = psutil.Process(stack.pid_of("queue"))
            await client.bus.request_raw(SUBJECT, body, timeout=PATIENCE)
            before = queue.memory_info().rss
            flood = [
                asyncio.create_task(client.bus.request_raw(SUBJECT, body, timeout=PATIENCE)) for _ in range(NUMBER)
            ]
            statuses = [await stack.ask("status") for _ in range(20)]
            codes = [(reply.headers or {}).get("Nats-Service-Error-Code") for reply in await asyncio.gather(*flood)]
            async with asyncio.timeout(60):
                while queue.memory_info().rss > max(1.3 * before, before + 100 * 2**20):
                    await asyncio.sleep(0.1)
            assert {status["manager_state"] for status in statuses} == {"idle"}
            assert set(codes) <= {None, "too_many"}
            assert None in codes
            assert queue.is_running()
            assert "Slow Consumer" not in stack.log("nats")
