"""How the 0MQ sockets get their addresses."""

from __future__ import annotations

import contextlib
import socket as unix
from pathlib import Path

import zmq

from skybus.bus.errors import UnavailableError

_IPC = "ipc://"


def bind(socket: zmq.Socket, address: str, what: str) -> None:
    """Bind a socket.

    Raises:
        UnavailableError: the address is taken or is none.
    """
    try:
        if address.startswith(_IPC):
            _require_unused(address.removeprefix(_IPC))
        socket.bind(address)
    except (zmq.ZMQError, OSError) as error:
        socket.close()
        raise UnavailableError(
            f"the 0MQ {what} socket cannot listen on {address}: {error.strerror or error}; "
            f"stop what listens there, or set SKYBUS_ZMQ_{what.upper()}_ADDR"
        ) from None


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
