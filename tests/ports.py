"""Ports for servers that are told where to listen: nobody else on this machine is given one of them meanwhile.

They are outside the range from which the kernel takes the ports of clients and of those who ask for any. Among the
processes of all test runs of a user, each is held by a lock on one byte of a file, which the kernel releases when its
process ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANGE_OF_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_HELD = Path(tempfile.gettempdir()) / f"skybus-test-ports-{os.getuid()}"


def _ports() -> list[int]:
    """Those of this process, in an order of its own."""
    first, last = map(int, _RANGE_OF_CLIENTS.read_text().split())
    above = range(_LOWEST, 1 << 16)
    ports = [port for port in above if not first <= port <= last] or list(above)
    random.shuffle(ports)
    return ports


_LEFT = _ports()
_LOCKS = os.open(_HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def free_port() -> int:
    """A port that is this process's until it ends."""
    while True:
        port = _LEFT.pop()
        if _hold(port) and _is_free(port):
            return port


def _hold(port: int) -> bool:
    try:
        fcntl.lockf(_LOCKS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        try:
            sock.bind(("127.0.0.1", port))
            datagrams.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
