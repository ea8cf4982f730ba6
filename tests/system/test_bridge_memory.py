"""Whatever 0MQ clients send, the memory of the bridge is bounded and comes back, and other clients are served."""

from __future__ import annotations

import asyncio
import json
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
import zmq
import zmq.asyncio

from tests.promises import PATIENCE
from tests.system.stack import RunningStack, stack_up

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

MEGABYTE = 1 << 20
MEMORY = 512 * MEGABYTE
"""The bridge's limit."""
GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL".ljust(64, b"\x00")
READY = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
WHO = {"user": "visitor", "user_group": "primary"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack():
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder), SKYBUS_ZMQ_MEMORY=str(MEMORY)) as stack:
            yield stack


class Peak:
    """The most memory that a process has had."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.now
        self.most = self.before

    @property
    def now(self) -> int:
        return self._process.memory_info().rss

    async def watch(self) -> None:
        while True:
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)

    async def until_back(self) -> None:
        async with asyncio.timeout(60):
            while self.now > 1.3 * self.before:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def peak_of(stack: RunningStack, part: str) -> AsyncIterator[Peak]:
    peak = Peak(stack.pid_of(part))
    watching = asyncio.create_task(peak.watch())
    try:
        yield peak
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def unfinished(stack: RunningStack, frame: bytes, number: int) -> bool:
    """Send frames of one message that never ends; returns whether the connection was ended."""
    host, _, port = stack.control.removeprefix("tcp://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(GREETING + b"\x04" + bytes([len(READY)]) + READY)
    await reader.readexactly(64)
    try:
        for _ in range(number):
            writer.write(frame)
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            while await reader.read(4096):
                pass
    except ConnectionError:
        return True
    finally:
        writer.transport.abort()
    return True


def frame(size: int) -> bytes:
    """A frame that is not the last one of its message."""
    return b"\x03" + struct.pack(">Q", size) + b"x" * size


async def test_a_message_of_endless_frames_ends_its_connection_and_nothing_else(stack: RunningStack) -> None:
    pid = stack.pid_of("bridge")
    async with peak_of(stack, "bridge") as peak:
        assert await unfinished(stack, frame(20_000_000), 60)
        assert (await stack.ask("status"))["manager_state"] == "idle"
        await peak.until_back()
    assert peak.most < MEMORY
    assert stack.pid_of("bridge") == pid


async def test_endless_tiny_frames_end_the_bridge_and_it_is_started_again(stack: RunningStack) -> None:
    pid = stack.pid_of("bridge")
    assert await unfinished(stack, frame(10) * 100_000, 200)
    assert (await stack.ask("status"))["manager_state"] == "idle"
    assert stack.pid_of("bridge") != pid
    assert "FATAL ERROR: OUT OF MEMORY" in stack.log("bridge")


async def test_many_small_values_are_refused_before_they_are_made(stack: RunningStack) -> None:
    request = b'{"method": "queue_item_add_batch", "params": {"items": [%b{}]}}' % (b"{}," * 20_000_000)
    async with peak_of(stack, "bridge") as peak:
        _, reply = await stack.ask_raw(request)
        await peak.until_back()
    assert "so many values" in reply["msg"]
    assert peak.most < peak.before + 3 * len(request)


async def test_many_large_requests_wait_in_the_socket_and_all_are_answered(stack: RunningStack) -> None:
    request = json.dumps({"method": "queue_item_remove_batch", "params": {"uids": ["x" * 200] * 20_000}}).encode()
    number = 40
    await stack.ask_raw(request)
    async with peak_of(stack, "bridge") as peak:
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(stack.control)
            for _ in range(number):
                await socket.send_multipart([b"", request])
            assert (await stack.ask("status"))["manager_state"] == "idle"
            replies: list[dict[str, Any]] = []
            async with asyncio.timeout(PATIENCE):
                while len(replies) < number:
                    replies.append(json.loads((await socket.recv_multipart())[-1]))
        await peak.until_back()
    assert [reply["success"] for reply in replies] == [True] * number
    assert peak.most < MEMORY
