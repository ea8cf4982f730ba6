"""How the 0MQ sockets get their addresses."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket as unix
from pathlib import Path

import zmq

from skybus.bus.errors import UnavailableError
from skybus.bus.port_holder import port_holder

_IPC = "ipc://"
_PORTS = re.compile(r"(tcp://.+:)([0-9]+)-([0-9]+)")


def bind(socket: zmq.Socket, address: str, what: str) -> None:
    """Bind a socket to an address of 0MQ, or for `tcp://HOST:FIRST-LAST` to the first free one of these ports.

    Raises:
        UnavailableError: the address is taken or is none.
    """
    try:
        if address.startswith(_IPC):
            _require_unused(address.removeprefix(_IPC))
        _bind_one(socket, _candidates(address))
    except (zmq.ZMQError, OSError) as error:
        socket.close()
        raise UnavailableError(
            f"the 0MQ {what} socket cannot listen on {address}: {_reason(error, address)}; "
            f"stop what listens there, or set SKYBUS_ZMQ_{what.upper()}_ADDR"
        ) from None


def _candidates(address: str) -> list[str]:
    ports = _PORTS.fullmatch(address)
    if not ports:
        return [address]
    place, first, last = ports.groups()
    return [f"{place}{port}" for port in range(int(first), int(last) + 1)] or [address]


def _bind_one(socket: zmq.Socket, addresses: list[str]) -> None:
    """Bind the first address that nobody else has bound; looking for one before would be too early."""
    *others, last = addresses
    for address in others:
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
        else:
            return
    socket.bind(last)


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
