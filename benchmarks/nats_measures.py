"""Round trips over NATS, through the Python client; skybus only, compared with the reference's 0MQ round trips."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from sides import Side, Skybus
from zmq_client import SHORT_PLAN

from skybus.bus.api.items import QueueChange
from skybus.bus.api.queue import ITEM_ADD, QUEUE_CLEAR, ItemAdd
from skybus.bus.api.status import STATUS_GET
from skybus.bus.messages import Empty
from skybus.client.client import Client

Step = Callable[[Client], Awaitable[object]]


def ping(side: Side) -> list[float]:
    """Have the server answer a PING: what each of the two ways of a request through it takes at least."""
    return _times(side, lambda client: client.bus.connection.flush(), 100)


def status(side: Side) -> list[float]:
    """Ask for the status, one request after the other."""
    return _times(side, lambda client: client.call(STATUS_GET, Empty()), 100)


def add_item(side: Side) -> list[float]:
    """Put a plan into a short queue."""
    request = ItemAdd.model_validate({"item": SHORT_PLAN})
    samples = _times(side, lambda client: client.call(ITEM_ADD, request), 40)
    _times(side, lambda client: client.call(QUEUE_CLEAR, QueueChange()), 1)
    return samples


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
