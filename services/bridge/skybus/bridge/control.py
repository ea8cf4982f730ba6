"""The control socket: requests of 0MQ clients, several at once, each answered where it came from.

Requests in flight are bounded in number and bytes. Beyond that the socket is not read, and 0MQ takes a few more
messages of each client. Of a message of several frames 0MQ keeps all frames until the last one has come, whatever its
limits say; the memory of the process bounds these (`memory.py`).

The socket is read by the event loop itself, through the file descriptor that 0MQ signals on: that saves the futures and
the task that `zmq.asyncio` needs for a message. The descriptor tells of changes only, so the socket is looked at again
after each use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import structlog
import zmq

from skybus.bridge.binding import bind

log = structlog.get_logger()

AT_ONCE = 256
"""Requests worked on at the same time; more wait in the socket."""
IN_FLIGHT = 64 << 20
"""Bytes of the requests that are worked on, and of their replies until 0MQ has taken them; more wait in the socket."""
RECEIVED, UNSENT = 2, 4
"""Messages of one client that 0MQ holds: requests that were not read yet, replies that the client does not read."""
REPLY_PATIENCE = 5.0
"""Seconds that a reply waits for a client that does not read; then it is dropped."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.1
_COPIED = 65536
_READABLE, _MORE = int(zmq.POLLIN), int(zmq.SNDMORE | zmq.NOBLOCK)  # the enums take longer than the calls

Answer = Callable[[list[bytes], str], Awaitable[bytes | None]]
"""Takes the parts of a request and the address of the client's host, which is empty if nobody needs it."""
_PEER_ADDRESS = "Peer-Address"


class ControlSocket:
    """A ROUTER that hands the parts of each request to a coroutine function and sends back what that returns.

    Args:
        largest: bytes of one message; 0MQ ends the connection of a client that sends more.
        mode: of the file of an `ipc://` socket.
        names_peers: whether `answer` needs the address of the client's host.
    """

    def __init__(
        self,
        context: zmq.Context,
        address: str,
        answer: Answer,
        largest: int,
        private_key: str | None = None,
        *,
        mode: int | None = None,
        names_peers: bool = False,
    ) -> None:
        self._answer = answer
        self._names_peers = names_peers
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.MAXMSGSIZE, largest)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVED)
        self._socket.setsockopt(zmq.SNDHWM, UNSENT)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # else a reply beyond that is dropped at once
        if private_key:
            self._socket.curve_server = True
            self._socket.curve_secretkey = private_key.encode()
        bind(self._socket, address, "control", mode)
        self._loop.add_reader(self._socket.FD, self._receive)

    @property
    def address(self) -> str:
        """Where it listens, with the port that it was given."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def bytes_in_flight(self) -> int:
        """Of the requests that are worked on, and of replies that wait."""
        return self._bytes

    async def close(self) -> None:
        """Finish what has been begun, and close."""
        self._loop.remove_reader(self._socket.FD)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0.5)
        for task in self._tasks:
            task.cancel()
        self._socket.close()

    def _receive(self) -> None:
        while len(self._tasks) < AT_ONCE and self._bytes < IN_FLIGHT and self._has_request():
            frames, peer = self._take()
            size = sum(map(len, frames))
            self._bytes += size  # before the next one is read
            task = self._loop.create_task(self._reply(frames, peer))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, size))

    def _has_request(self) -> bool:
        return not self._socket.closed and bool(self._socket.getsockopt(zmq.EVENTS) & _READABLE)

    def _take(self) -> tuple[list[bytes], str]:
        """Read a message, and the address of its sender if it is needed: only frames that 0MQ does not copy have it."""
        if not self._names_peers:
            return self._socket.recv_multipart(zmq.NOBLOCK), ""
        frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        return [frame.bytes for frame in frames], str(frames[-1].get(_PEER_ADDRESS))

    async def _reply(self, frames: list[bytes], peer: str) -> None:
        envelope, parts = split_envelope(frames)
        reply = await self._answer(parts, peer)
        if reply is None:
            return
        if not self._send(envelope, reply):
            with self._holding(len(reply)):
                await self._send_later(envelope, reply)

    @contextmanager
    def _holding(self, size: int) -> Iterator[None]:
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    def _send(self, envelope: list[bytes], reply: bytes) -> bool:
        """Send a reply, unless its client has too many that it has not read; a client that has gone gets none."""
        try:
            for frame in envelope:  # not send_multipart: it takes 10 µs more
                self._socket.send(frame, _MORE)
            self._socket.send(reply, zmq.NOBLOCK, copy=len(reply) < _COPIED)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
        return True

    async def _send_later(self, envelope: list[bytes], reply: bytes) -> None:
        pause, end = _FIRST_PAUSE, self._loop.time() + REPLY_PATIENCE
        while self._loop.time() < end:
            await asyncio.sleep(pause)
            if self._send(envelope, reply):
                return
            self._receive()  # the use of the socket may have cost us its signal
            pause = min(2 * pause, _LONGEST_PAUSE)
        log.warning("a reply is dropped: its 0MQ client does not read", bytes=len(reply))

    def _done(self, size: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._bytes -= size
        if not task.cancelled() and (error := task.exception()):
            log.error("a request was not answered", error=repr(error))
        self._receive()


def split_envelope(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Part the client's address from its request; a REQ socket puts an empty frame between them, a DEALER may not."""
    if len(frames) > 1 and frames[1] == b"":
        return frames[:2], frames[2:]
    return frames[:1], frames[1:]
