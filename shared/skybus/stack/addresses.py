"""Addresses that were asked for: whether a 0MQ socket may listen there, and whether a Redis answers there."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from urllib.parse import SplitResult, urlsplit

from skybus.bus.errors import InvalidError, UnavailableError
from skybus.stack.datadir import LONGEST_SOCKET_PATH
from skybus.stack.servers import require_free_port

REDIS_PORT, SENTINEL_PORT = 6379, 26379
REDIS_PATIENCE = 3.0
"""Seconds that a Redis which was started together with us has to listen."""
_IPC = "ipc://"
_EVERYWHERE = {"*": "0.0.0.0", "localhost": "127.0.0.1"}  # noqa: S104 - only tried


def require_free(address: str) -> None:
    """Check the address of a 0MQ socket.

    Raises:
        InvalidError: it cannot be one.
        UnavailableError: another program listens there.
    """
    if address.startswith(_IPC) and len(address) > len(_IPC):
        _require_short(address)  # the bridge sees whether somebody listens
        return
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not address.startswith("tcp://") or not port.isdigit():
        raise InvalidError(f"0MQ address {address!r}: expected tcp://HOST:PORT, tcp://*:PORT or ipc://PATH")
    host = _EVERYWHERE.get(host, host)
    if _is_known(host):
        require_free_port(int(port), host)


def _require_short(address: str) -> None:
    size = len(os.fsencode(address.removeprefix(_IPC)))
    if size > LONGEST_SOCKET_PATH:
        raise InvalidError(
            f"0MQ address {address!r}: the path has {size} bytes, a unix socket has {LONGEST_SOCKET_PATH} at most"
        )


async def until_redis_answers(url: str) -> None:
    """Wait until something listens where Redis should.

    Raises:
        UnavailableError: nothing does.
    """
    deadline = time.monotonic() + REDIS_PATIENCE
    while True:
        try:
            await _connect(url)
        except OSError as error:
            if time.monotonic() > deadline:
                where = without_password(url)
                raise UnavailableError(
                    f"no Redis answers at {where} ({error.strerror or error}): start it, or name another one"
                ) from None
            await asyncio.sleep(0.1)  # nothing tells when a server listens
        else:
            return


def without_password(url: str) -> str:
    """The URL or address of a Redis as it may be shown, also one that cannot be read."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    login, _, place = rest.rpartition("@")
    return f"{scheme}{mark}{rest if login.startswith('/') else place}"  # the path of a socket may have an @


async def _connect(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        _, writer = await asyncio.open_unix_connection(parts.path)
    else:
        writer = await _connect_to_one(parts)
    writer.close()


async def _connect_to_one(parts: SplitResult) -> asyncio.StreamWriter:
    """Connect to the server, or to the first Sentinel that listens."""
    usual = SENTINEL_PORT if parts.scheme.endswith("+sentinel") else REDIS_PORT
    refused: OSError | None = None
    for address in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{address}")
        try:
            return (await asyncio.open_connection(one.hostname or "localhost", one.port or usual))[1]
        except OSError as error:
            refused = error
    assert refused
    raise refused


def _is_known(host: str) -> bool:
    """Whether the name is one of ours to try; 0MQ takes names of network interfaces too."""
    try:
        socket.getaddrinfo(host, None, socket.AF_INET)
    except socket.gaierror:
        return False
    return True
