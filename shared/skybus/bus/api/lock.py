"""Endpoints of the lock: who holds the environment or the queue, and the key that gets past it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from skybus.bus.api.items import PersonName
from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message, Request

LockKey = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""The secret of who holds the lock."""


class LockSet(Request):
    """Lock the environment, the queue or both; what is locked answers only to requests with the key."""

    environment: bool = False
    """Lock what opens, closes and runs."""
    queue: bool = False
    """Lock what changes the queue, its mode, the history and the permissions."""
    lock_key: LockKey
    note: str | None = Field(default=None, max_length=10_000)
    """Why, for others to read."""
    user: PersonName | None = None
    """In whose name; only a listed delegate may claim one."""


class LockInfoGet(Request):
    """Read the lock; a key that is given must be the one that opens it."""

    lock_key: LockKey | None = None


class Unlock(Request):
    """Take the lock away, with its key or the emergency key."""

    lock_key: LockKey


class LockInfo(Message):
    """The lock, without its key."""

    environment: bool = False
    queue: bool = False
    user: str | None = None
    via: str | None = None
    """The delegate that has claimed the user; nothing if the server has verified the user."""
    time: float | None = None
    """When it was set, unix seconds."""
    time_str: str = ""
    """The same in local time, `month/day/year hour:minute:second`."""
    note: str | None = None
    emergency_lock_key_is_set: bool = False


class LockShown(Message):
    """The lock, and a uid that changes with it."""

    lock_info: LockInfo
    lock_info_uid: str


LOCK = Endpoint("lock.set", LockSet, LockShown, changes=True)
LOCK_INFO = Endpoint("lock.get", LockInfoGet, LockShown)
UNLOCK = Endpoint("lock.release", Unlock, LockShown, changes=True)
