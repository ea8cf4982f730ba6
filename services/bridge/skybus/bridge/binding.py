"""How the 0MQ sockets get their addresses."""

from __future__ import annotations

import contextlib
import errno
import os
import socket as unix
from collections.abc import Iterator
from pathlib import Path

import zmq

from skybus.bus.errors import UnavailableError
from skybus.bus.port_holder import port_holder

_IPC = "ipc://"


def bind(socket: zmq.Socket, address: str, what: str, mode: int | None = None) -> None:
    """Bind a socket to an address of 0MQ.

    Args:
        socket: of 0MQ.
        address: where it is to listen.
        what: `control` or `info`.
        mode: of the file of an `ipc://` socket; by default what the umask leaves.

    Raises:
        UnavailableError: the address is taken or is none.
    """
    try:
        if address.startswith(_IPC):
            _require_unused(address.removeprefix(_IPC))
        with _socket_mode(mode):
            socket.bind(address)
    except (zmq.ZMQError, OSError) as error:
        socket.close()
        raise UnavailableError(
            f"the 0MQ {what} socket cannot listen on {address}: {_reason(error, address)}; "
            f"stop what listens there, or set SKYBUS_ZMQ_{what.upper()}_ADDR"
        ) from None


@contextlib.contextmanager
def _socket_mode(mode: int | None) -> Iterator[None]:
    """Give a socket file its mode when it is made: somebody could connect before a chmod."""
    if mode is None:
        yield
        return
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _reason(error: OSError | zmq.ZMQError, address: str) -> str:
    port = address.rpartition(":")[2]
    if error.errno == zmq.EADDRINUSE and port.isdigit():
        return f"{os.strerror(errno.EADDRINUSE)} by {port_holder(int(port))}"
    return str(error.strerror or error)


def _require_unused(path: str) -> None:
    """See that nobody listens on a unix socket: 0MQ takes away whatever lies at its path, not only what is left over.

    Raises:
        OSError: somebody does, or something else than a socket lies there.
    """
    file = Path(path)
    if path.startswith("@") or not file.exists():
        return
    if not file.is_socket():
        raise FileExistsError(0, "something else than a socket lies there")
    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.settimeout(1)
        probe.connect(path)
        raise FileExistsError(0, "another program listens there")
