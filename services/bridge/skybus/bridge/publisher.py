"""The info socket: console output and status, published to 0MQ subscribers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import structlog
import zmq
from nats.aio.msg import Msg

from skybus.bridge.binding import bind
from skybus.bridge.codec import Codec, Json
from skybus.bridge.methods import status_reply
from skybus.bus.api.console import CONSOLE_GET, ConsoleChunk, ConsoleGet
from skybus.bus.api.status import STATUS_GET
from skybus.bus.connection import Bus
from skybus.bus.console_chunks import chunk_of
from skybus.bus.errors import SkybusError
from skybus.bus.provenance import is_event
from skybus.bus.tail import Page, Tail

log = structlog.get_logger()

CONSOLE_TOPIC, INFO_TOPIC = b"QS_Console", b"QS_Info"
_BUFFERED = 4_000
"""Messages kept for a subscriber that reads slowly."""
_LARGEST_SUBSCRIPTION = 4096
"""Bytes; 0MQ ends the connection of who sends more."""
_JSON = Json()


class InfoSocket:
    """A PUB socket with the reference's two topics.

    Args:
        mode: of the file of an `ipc://` socket.
        peers: networks whose hosts may subscribe; by default all.
    """

    def __init__(
        self,
        context: zmq.Context,
        address: str,
        codec: Codec,
        *,
        mode: int | None = None,
        peers: Iterable[str] = (),
    ) -> None:
        self._codec = codec
        self._socket = context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.SNDHWM, _BUFFERED)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST_SUBSCRIPTION)
        for network in peers:
            self._socket.setsockopt_string(zmq.TCP_ACCEPT_FILTER, network)
        bind(self._socket, address, "info", mode)

    @property
    def address(self) -> str:
        """Where it listens, with the port that it was given."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def console(self, written: float, text: str) -> None:
        """Publish a piece of console output."""
        self._send(CONSOLE_TOPIC, {"time": written, "msg": text})

    def line(self, text: str) -> None:
        """Publish a line of the bridge's own, in the form of log lines."""
        now = time.time()
        self.console(now, f"{datetime.fromtimestamp(now).isoformat()} [info     ] {text}\n")

    def status(self, status: dict[str, Any]) -> None:
        """Publish a status, given as the bus has it."""
        self._send(INFO_TOPIC, {"time": time.time(), "msg": {"status": status_reply(status, {})}})

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, topic: bytes, payload: dict[str, Any]) -> None:
        if not self._socket.closed:
            self._socket.send_multipart([topic, self._codec.dumps(payload)], zmq.NOBLOCK)


async def publish_console(bus: Bus, socket: InfoSocket) -> None:
    """Publish console output as it comes, and what was missed while there was no connection."""

    async def read(seq: int) -> Page[ConsoleChunk]:
        page = await bus.call(CONSOLE_GET, ConsoleGet(seq=seq))
        return Page(page.chunks, page.next_seq, page.complete)

    tail = Tail(bus, bus.subjects.event("console.>"), chunk_of, read, skip_unreadable=True)
    async for chunk in tail.follow():
        socket.console(chunk.time, chunk.text)


class StatusPublisher:
    """Publishes each status that is pushed, and asks for it when nothing was pushed for a while.

    The status is asked for rather than repeated from memory: when the queue service is gone, subscribers hear nothing,
    instead of a state that may no longer be true.
    """

    def __init__(self, bus: Bus, socket: InfoSocket, period: float) -> None:
        self._bus = bus
        self._socket = socket
        self._period = period
        self._published = asyncio.Event()
        self._is_answered = True

    async def run(self) -> None:
        """Publish until cancelled."""
        await self._bus.subscribe(self._bus.subjects.event("status"), self._on_status)
        while True:
            await self._bus.wait_connected()
            await self._ask()
            await self._while_pushed()

    async def _on_status(self, message: Msg) -> None:
        if is_event(self._bus.subjects, message):
            self._publish(message.data)

    async def _while_pushed(self) -> None:
        while True:
            self._published.clear()
            try:
                async with asyncio.timeout(self._period):
                    await self._published.wait()
            except TimeoutError:
                return

    async def _ask(self) -> None:
        try:
            self._publish(await self._bus.call_bytes(STATUS_GET, b"", timeout=self._period))
        except SkybusError as error:
            if self._is_answered:
                log.warning("no status to publish", reason=error.message)
            self._is_answered = False
        else:
            self._is_answered = True

    def _publish(self, body: bytes) -> None:
        self._socket.status(_JSON.loads(body).value)
        self._published.set()
