"""A process with many clients: `python -m tests.system.load_client DATA_DIR CLIENTS SECONDS SEED`.

It prints `connected`, waits for a line on standard input, works, and prints what it has measured as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skybus.bus.errors import SkybusError
from skybus.client.client import Client
from tests.promises import PATIENCE

THINK = 0.8
"""Seconds between an answer and the next request, on average."""
MIX = {"status": 50, "queue.get": 20, "change": 30}
"""How often each is asked for; a change adds an item, and the next one removes it."""


@dataclass
class Figures:
    """What one process has measured."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of each request that was answered, by its name."""
    errors: list[str] = field(default_factory=list)


class Person:
    """A client that asks, reads the answer, thinks, and asks again."""

    def __init__(self, client: Client, figures: Figures, seed: str) -> None:
        self._client = client
        self._figures = figures
        self._random = random.Random(seed)
        self._item_uid: str | None = None

    async def work(self, until: float) -> None:
        """Work until a time of the monotonic clock, and leave no item behind."""
        await self._think()
        while time.monotonic() < until:
            what = self._random.choices(list(MIX), list(MIX.values()))[0]
            await {"status": self._status, "queue.get": self._queue, "change": self._change}[what]()
            await self._think()
        if self._item_uid:
            await self._change()

    async def _think(self) -> None:
        await asyncio.sleep(self._random.expovariate(1 / THINK))  # the load that is asked for

    async def _status(self) -> None:
        await self._timed("status", self._client.status())

    async def _queue(self) -> None:
        await self._timed("queue.get", self._client.queue())

    async def _change(self) -> None:
        if self._item_uid:
            uid, self._item_uid = self._item_uid, None
            await self._timed("remove", self._client.remove(uid))
        elif item := await self._timed("add", self._client.add("paced", num=1, period=0.1)):
            self._item_uid = item["item_uid"]

    async def _timed(self, name: str, request: Awaitable[Any]) -> Any:
        begin = time.perf_counter()
        try:
            answer = await request
        except SkybusError as error:
            self._figures.errors.append(f"{name}: {error.code}: {error.message}")
            return None
        self._figures.seconds[name].append(time.perf_counter() - begin)
        return answer


async def main(data_dir: Path, clients: int, seconds: float, seed: str) -> None:
    figures = Figures()
    async with AsyncExitStack() as stack:
        connect = Client.connect
        options = {"data_dir": data_dir, "connect_timeout": PATIENCE}
        people = [
            Person(await stack.enter_async_context(connect(**options)), figures, f"{seed} {number}")
            for number in range(clients)
        ]
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        until = time.monotonic() + seconds
        await asyncio.gather(*(person.work(until) for person in people))
    print(json.dumps({"seconds": figures.seconds, "errors": figures.errors}), flush=True)


if __name__ == "__main__":
    folder, how_many, how_long, seed = sys.argv[1:]
    asyncio.run(main(Path(folder), int(how_many), float(how_long), seed))
