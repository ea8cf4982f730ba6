"""The control socket: requests of 0MQ clients, several at once, each answered where it came from.

The socket is read by the event loop itself, through the file descriptor that 0MQ signals on: that saves the futures and
the task that `zmq.asyncio` needs for a message. The descriptor tells of changes only, so the socket is looked at again
after each use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
import zmq

from skybus.bridge.binding import bind

log = structlog.get_logger()

AT_ONCE = 256
"""Requests worked on at the same time; more wait in the socket."""
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
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.MAXMSGSIZE, largest)
        if private_key:
            self._socket.curve_server = True
            self._socket.curve_secretkey = private_key.encode()
        bind(self._socket, address, "control", mode)
        self._loop.add_reader(self._socket.FD, self._receive)

    @property
    def address(self) -> str:
        """Where it listens, with the port that it was given."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    async def close(self) -> None:
        """Finish what has been begun, and close."""
        self._loop.remove_reader(self._socket.FD)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0.5)
        for task in self._tasks:
            task.cancel()
        self._socket.close()

    def _receive(self) -> None:
        while len(self._tasks) < AT_ONCE and self._has_request():
            frames, peer = self._take()
            task = self._loop.create_task(self._reply(frames, peer))
            self._tasks.add(task)
            task.add_done_callback(self._done)

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
        for frame in envelope:  # not send_multipart: it takes 10 µs more
            self._socket.send(frame, _MORE)
        self._socket.send(reply, zmq.NOBLOCK, copy=len(reply) < _COPIED)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a request was not answered", error=repr(error))
        self._receive()


def split_envelope(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Part the client's address from its request; a REQ socket puts an empty frame between them, a DEALER may not."""
    if len(frames) > 1 and frames[1] == b"":
        return frames[:2], frames[2:]
    return frames[:1], frames[1:]
