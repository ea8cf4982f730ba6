"""The Redis that a URL names: a server, or the primary that Sentinels name (docs/decisions/0012).

`redis+sentinel://:PASSWORD@HOST:PORT,HOST:PORT,HOST:PORT/NAME/DB` has the addresses of the Sentinels, which have the
same password as the servers, and the name that they have given to the primary. Each new connection asks them where that
is.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from skybus.bus.errors import InvalidError

SCHEME = "redis+sentinel"
_PORT = 26379
_SENTINEL_PATIENCE = 0.5
"""Seconds that one Sentinel has; then the next is asked."""
PATIENCE, _CONNECT_PATIENCE = 5.0, 2.0
"""Seconds that a server has for an answer, and until it is connected."""
_PRIMARY_PATIENCE = 2.0
"""The same for an answer of the primary: it is dead to the Sentinels after one."""


class Sentinels(NamedTuple):
    """What a URL says of Sentinels."""

    addresses: list[tuple[str, int]]
    primary: str
    database: int
    user: str | None
    password: str | None


def connect(url: str, **options: Any) -> Redis:
    """Make a client for a URL; it connects when it is used."""
    if not is_sentinel(url):
        return Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=_CONNECT_PATIENCE, **options)
    named = read_sentinels(url)
    sentinel = Sentinel(
        named.addresses,
        sentinel_kwargs={
            "socket_timeout": _SENTINEL_PATIENCE,
            "socket_connect_timeout": _SENTINEL_PATIENCE,
            "password": named.password,
            "retry": Retry(NoBackoff(), 0),
        },
    )
    return sentinel.master_for(
        named.primary,
        redis_class=_Primary,
        db=named.database,
        username=named.user,
        password=named.password,
        socket_timeout=_PRIMARY_PATIENCE,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),  # whether a change was made is for the store to find out
        **options,
    )


def copies_behind(url: str) -> int:
    """Replicas that must have a change before it counts: one where Sentinels may make it the primary."""
    return 1 if is_sentinel(url) else 0


def is_sentinel(url: str) -> bool:
    """Whether a URL names Sentinels."""
    return url.startswith(f"{SCHEME}://")


def read_sentinels(url: str) -> Sentinels:
    """Take the URL apart.

    Raises:
        InvalidError: it says no address, or not what the primary is called.
    """
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    primary, _, database = parts.path.strip("/").partition("/")
    try:
        addresses = [_address(host) for host in hosts.split(",") if host]
        number = int(database or 0)
    except ValueError as error:
        raise InvalidError(f"the URL of the Sentinels cannot be read: {error}") from None
    if not addresses or not primary:
        raise InvalidError(f"the URL of Sentinels is {SCHEME}://:PASSWORD@HOST:PORT,HOST:PORT,HOST:PORT/NAME/DB")
    return Sentinels(addresses, primary, number, unquote(user) or None, unquote(password) or None)


class _Primary(Redis):
    """A client that has its own connections to the Sentinels."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.sentinel_manager.aclose()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or _PORT)
