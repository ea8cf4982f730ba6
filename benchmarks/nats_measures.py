"""Round trips over NATS, through the Python client; skybus only, compared with the reference's 0MQ round trips."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import echo
import uvloop
from sides import Side, Skybus
from zmq_client import SHORT_PLAN

from skybus.bus.api.items import QueueChange
from skybus.bus.api.queue import ITEM_ADD, QUEUE_CLEAR, ItemAdd
from skybus.bus.api.status import STATUS_GET
from skybus.bus.messages import Empty
from skybus.client.client import Client

Step = Callable[[Client], Awaitable[object]]


def bare_request(side: Side) -> list[float]:
    """Have a process that does nothing else answer through nats-py: what a request takes before we do anything."""

    def request(client: Client) -> Awaitable[object]:
        subject = client.bus.subjects.command(client.bus.user, echo.ENDPOINT)
        return client.bus.connection.request(subject, timeout=5)

    with _echo(side):
        return _times(side, request, 100)


def status(side: Side) -> list[float]:
    """Ask for the status, one request after the other."""
    return _times(side, lambda client: client.call(STATUS_GET, Empty()), 100)


def add_item(side: Side) -> list[float]:
    """Put a plan into a short queue."""
    request = ItemAdd.model_validate({"item": SHORT_PLAN})
    samples = _times(side, lambda client: client.call(ITEM_ADD, request), 40)
    _times(side, lambda client: client.call(QUEUE_CLEAR, QueueChange()), 1)
    return samples


@contextmanager
def _echo(side: Side) -> Iterator[None]:
    assert isinstance(side, Skybus)
    command = [sys.executable, echo.__file__, side.data_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            process.terminate()


def _times(side: Side, step: Step, count: int) -> list[float]:
    assert isinstance(side, Skybus)
    return uvloop.run(_measure(side.data_dir, step, count))


async def _measure(data_dir: Path, step: Step, count: int) -> list[float]:
    samples = []
    async with Client.connect(data_dir=data_dir) as client:
        await client.status()
        for _ in range(count):
            begin = time.perf_counter()
            await step(client)
            samples.append((time.perf_counter() - begin) * 1000)
    return samples
