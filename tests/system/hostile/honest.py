"""Two clients that do their work, one over NATS and one over 0MQ, and write down each error and each time."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import nats.errors
import zmq
import zmq.asyncio

from skybus.bus.errors import SkybusError
from skybus.client.client import Client
from tests.system.stack import RunningStack

PAUSE = 0.2
"""Seconds between an answer and the next request."""
PATIENCE = 30.0
"""Seconds that a request may take."""
ITEM = {"item_type": "plan", "name": "paced", "kwargs": {"num": 1, "period": 0.1}}
_POINT = re.compile(r"^point (\d+)$", re.MULTILINE)


@dataclass
class Experience:
    """What an honest client has seen."""

    who: str
    seconds: list[float] = field(default_factory=list)
    """That each answered request took."""
    errors: list[str] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    """The points of the plan of which it has seen the output."""

    async def timed(self, what: str, request: Awaitable[Any]) -> Any:
        """Wait for an answer; nothing comes of an error but a note."""
        begin = time.perf_counter()
        try:
            answer = await request
        except (SkybusError, TimeoutError, nats.errors.Error) as error:
            waited = time.perf_counter() - begin
            self.errors.append(f"{what} after {waited:.1f} s: {getattr(error, 'code', type(error).__name__)}: {error}")
            return None
        self.seconds.append(time.perf_counter() - begin)
        return answer

    def saw(self, text: str) -> None:
        """Note which points a piece of the console is about."""
        self.points += map(int, _POINT.findall(text))

    def missed(self, points: int) -> int:
        """Of so many points, of how many nothing was seen."""
        return len(set(range(points)) - set(self.points))

    @property
    def repeated(self) -> int:
        """Of how many points the output came again."""
        return len(self.points) - len(set(self.points))

    def lines(self, points: int) -> list[str]:
        """For people."""
        times = sorted(self.seconds) or [0.0]
        middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
        return [
            f"honest client over {self.who}: {len(self.seconds)} requests, {len(self.errors)} errors, "
            f"median {1000 * middle:.0f} ms, p99 {1000 * late:.0f} ms, longest {1000 * times[-1]:.0f} ms, "
            f"output of {points} points: {self.missed(points)} missed, {self.repeated} repeated",
            *(f"  {error[:300]}" for error in self.errors[:8]),
        ]


class NatsWorker:
    """Reads status and queue, adds an item and removes it, again and again; over another connection it follows."""

    def __init__(self, client: Client, follower: Client) -> None:
        self._client = client
        self._follower = follower
        self.experience = Experience("NATS")

    async def work(self) -> None:
        client, timed = self._client, self.experience.timed
        while True:
            await timed("status", client.status())
            await timed("queue", client.queue(limit=50))
            if item := await timed("add", client.add_item(ITEM)):
                await timed("remove", client.remove(item["item_uid"]))
            await asyncio.sleep(PAUSE)  # the pace of the client

    async def watch(self) -> None:
        """Follow what is printed from now on."""
        async with aclosing(self._follower.console(since=time.time())) as chunks:
            async for chunk in chunks:
                self.experience.saw(chunk.text)

    async def read_documents(self) -> None:
        """Follow the documents of all runs."""
        async with aclosing(self._follower.documents()) as documents:
            async for _ in documents:
                pass


class ZmqWorker:
    """A client of the reference: it asks for the status, adds an item and removes it, again and again."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._context = zmq.asyncio.Context()
        self._socket: zmq.asyncio.Socket | None = None
        self.experience = Experience("0MQ")

    async def work(self) -> None:
        timed = self.experience.timed
        who = {"user": "honest", "user_group": "primary"}
        while True:
            await timed("status", self._ask("status"))
            if added := await timed("queue_item_add", self._ask("queue_item_add", item=ITEM, **who)):
                await timed("queue_item_remove", self._ask("queue_item_remove", uid=added["item"]["item_uid"]))
            await asyncio.sleep(PAUSE)  # the pace of the client

    async def watch(self) -> None:
        """Follow what the info socket publishes."""
        info = self._context.socket(zmq.SUB)
        info.connect(self._stack.info)
        info.subscribe(b"QS_Console")
        while True:
            _, published = await info.recv_multipart()
            self.experience.saw(json.loads(published)["msg"])

    def close(self) -> None:
        self._context.destroy(linger=0)

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask once, over a new connection if the last answer did not come."""
        sock = self._socket or self._context.socket(zmq.REQ)
        self._socket = None
        if not sock.get(zmq.LAST_ENDPOINT):
            sock.connect(self._stack.control)
        try:
            async with asyncio.timeout(PATIENCE):
                await sock.send_json({"method": method, "params": params})
                reply = json.loads(await sock.recv())
        except BaseException:
            sock.close(linger=0)
            raise
        self._socket = sock
        if reply.get("success") is False:
            raise SkybusError(reply["msg"])
        return reply
