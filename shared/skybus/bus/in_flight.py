"""Counts the requests, and their bytes, that a process of a service works on: of each user, and of all users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import structlog

from skybus.bus.errors import TooManyError

log = structlog.get_logger()

EACH_REQUESTS, EACH_BYTES = 2000, 64 << 20
"""The most of one user, unless `SKYBUS_USER_REQUESTS` and `SKYBUS_USER_BYTES` say otherwise."""
USERS = 4
"""All users together have as much as so many users may have."""
RETRY_AFTER = 1.0
"""Seconds after which a request that is refused may be sent again."""


@dataclass(frozen=True)
class Share:
    """Requests and bytes: those in hand, or the most that may be."""

    requests: int = EACH_REQUESTS
    bytes: int = EACH_BYTES


class InFlight:
    """The requests that a process has in hand, from their arrival until they are answered."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._requests, self._bytes = Counter[str](), Counter[str]()
        self._all = Share(0, 0)
        self._refused = set[str]()
        """Users of whom the log says that a request was refused; forgotten when they have no request in hand."""

    @contextmanager
    def take(self, user: str, size: int) -> Iterator[None]:
        """Count a request of `size` bytes until the end of the block.

        Raises:
            TooManyError: there is no room for it.
        """
        self._require_room(user, size)
        self._count(user, 1, size)
        try:
            yield
        finally:
            self._count(user, -1, -size)

    def _require_room(self, user: str, size: int) -> None:
        """A request that is alone is taken, however large it is."""
        share, mine, everybodys = self._share, Share(self._requests[user], self._bytes[user]), self._all
        together = Share(USERS * share.requests, USERS * share.bytes)
        if mine.requests and not _fits(mine, size, share):
            self._refuse(user, f"{user!r} has", mine, share)
        if everybodys.requests and not _fits(everybodys, size, together):
            self._refuse(user, "all users together have", everybodys, together)

    def _refuse(self, user: str, whose: str, now: Share, most: Share) -> None:
        if user not in self._refused:
            self._refused.add(user)
            log.warning("a user has too much in hand: requests are refused", user=user, whose=whose, **asdict(now))
        raise TooManyError(
            f"{whose} {now.requests:,} requests of {now.bytes:,} bytes in hand here, at most {most.requests:,} of "
            f"{most.bytes:,} bytes are possible: this one was not carried out, come again in {RETRY_AFTER:g} s",
            retry_after=RETRY_AFTER,
        )

    def _count(self, user: str, requests: int, size: int) -> None:
        self._requests[user] += requests
        self._bytes[user] += size
        self._all = Share(self._all.requests + requests, self._all.bytes + size)
        if not self._requests[user]:  # users without any are forgotten
            del self._requests[user], self._bytes[user]
            self._refused.discard(user)


def _fits(now: Share, size: int, most: Share) -> bool:
    return now.requests < most.requests and now.bytes + size <= most.bytes
