"""Bodies in parts that one process of a service holds: requests that are still coming, replies still to be fetched.

They are held in memory and bounded: for each user, for all users together, and in time. No user reaches the parts of
another: the NATS server verifies the user of each part.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from skybus.bus import headers
from skybus.bus.errors import TooManyError, UnavailableError
from skybus.bus.parts import Parcel, Part

LONGEST = 120.0
"""Seconds that a reply is held at the most."""
IDLE = 10.0
"""Seconds until the next part of a request comes; a requester that has given up sends none."""
SHARE, ALL = 2, 4
"""How many of the largest possible bodies are held for one user, and for all users together."""
OPEN = 64
"""Requests of one user that are coming at the same time."""
RETRY_AFTER = 2.0
"""Seconds after which a large request that is refused may be sent again: about the time that one takes."""

T = TypeVar("T")


class _Held(Generic[T]):
    """Values by token, each for a limited time."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def hold(self, token: str, value: T, seconds: float) -> None:
        self._values[token] = value
        self._timers[token] = asyncio.get_running_loop().call_later(seconds, self.end, token)

    def get(self, token: str) -> T | None:
        return self._values.get(token)

    def all(self) -> Iterable[tuple[str, T]]:
        return self._values.items()

    def end(self, token: str) -> None:
        if self._values.pop(token, None) is not None:
            self._timers.pop(token).cancel()


@dataclass(frozen=True)
class Upload(Generic[T]):
    """A request of which parts are missing."""

    purpose: T
    """What the request is for."""
    user: str
    parcel: Parcel


class Uploads(Generic[T]):
    """Requests that are still coming.

    Args:
        largest: bytes of the largest body.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._held = _Held[Upload[T]]()

    def hold(self, token: str, upload: Upload[T], deadline: float | None) -> None:
        """Hold what has come of a request until its next part comes, or until its deadline, unix seconds.

        Raises:
            TooManyError: too much is held; of this request nothing is held any more.
        """
        self.end(token)
        mine = [each.parcel.received for _, each in self._held.all() if each.user == upload.user]
        everybodys = sum(each.parcel.received for _, each in self._held.all())
        size = upload.parcel.received
        is_too_much = size + sum(mine) > SHARE * self._largest or size + everybodys > ALL * self._largest
        if is_too_much or len(mine) >= OPEN:
            raise TooManyError(retry_after=RETRY_AFTER)
        self._held.hold(token, upload, IDLE if deadline is None else min(IDLE, deadline - time.time()))

    def find(self, token: str, user: str) -> Upload[T]:
        """The request to which a part belongs.

        Raises:
            UnavailableError: this user has not sent the parts before it to this process, or too long ago.
        """
        upload = self._held.get(token)
        if upload is None or upload.user != user:
            raise UnavailableError("the earlier parts of this request are not held here: send it again")
        return upload

    def end(self, token: str) -> None:
        """Hold a request no longer."""
        self._held.end(token)


class Places:
    """How many large requests a process has in hand.

    Args:
        each: the most of one user.
        together: the most of all users.
    """

    def __init__(self, each: int, together: int) -> None:
        self._each, self._together = each, together
        self._taken = Counter[str]()

    @contextmanager
    def take(self, user: str) -> Iterator[None]:
        """Take a place for a request of a user.

        Raises:
            TooManyError: there is none.
        """
        if self._taken[user] >= self._each or self._taken.total() >= self._together:
            raise TooManyError(retry_after=RETRY_AFTER)
        self._taken[user] += 1
        try:
            yield
        finally:
            self._taken[user] -= 1
            self._taken += Counter()  # forgets users without any


@dataclass(frozen=True)
class _Reply:
    packed: bytes
    size: int
    user: str


class LargeReplies:
    """Replies that are still to be fetched.

    Args:
        most: compressed bytes of all that are held; beyond that the oldest is dropped.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = _Held[_Reply]()

    def hold(self, token: str, packed: bytes, size: int, user: str) -> None:
        """Hold a reply until its last part is fetched."""
        held = [(each, len(reply.packed)) for each, reply in self._held.all()]
        left = self._most - len(packed) - sum(length for _, length in held)
        for oldest, length in held:
            if left >= 0:
                break
            self._held.end(oldest)
            left += length
        self._held.hold(token, _Reply(packed, size, user), LONGEST)

    def part(self, token: str, user: str, offset: int, limit: int) -> tuple[bytes, dict[str, str]] | None:
        """At most `limit` bytes of a reply from an offset on, with their headers; nothing if it is not held."""
        reply = self._held.get(token)
        if reply is None or reply.user != user:
            return None
        data = reply.packed[offset : offset + limit]
        head = {headers.PART: Part(offset, len(reply.packed), reply.size).header()}
        if offset + len(data) < len(reply.packed):
            return data, {**head, headers.MORE: token}
        self._held.end(token)
        return data, head


def new_token(process: str) -> str:
    """A token for a body that is held in this process."""
    return f"{process}.{uuid.uuid4().hex}"
