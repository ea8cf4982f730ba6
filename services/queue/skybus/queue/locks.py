"""The lock: what it guards, whose key gets past it, and what is said of it."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from enum import Flag, auto

from pydantic import Field

from skybus.bus.api.lock import LockInfo, LockSet
from skybus.bus.errors import InvalidError, LockedError
from skybus.bus.messages import Message
from skybus.queue.records import new_uid


class Guard(Flag):
    """The parts that can be locked."""

    ENVIRONMENT = auto()
    QUEUE = auto()

    @classmethod
    def of(cls, *, environment: bool, queue: bool) -> Guard:
        """Each part that is named."""
        return (cls.ENVIRONMENT if environment else cls(0)) | (cls.QUEUE if queue else cls(0))


class Lock(Message):
    """The lock as it is kept; without a key nothing is locked."""

    uid: str = Field(default_factory=new_uid)
    """Another one whenever the lock is set or taken away."""
    environment: bool = False
    queue: bool = False
    lock_key: str | None = Field(default=None, repr=False)
    user: str | None = None
    via: str | None = None
    """The delegate that has claimed the user."""
    time: float | None = None
    """Unix seconds."""
    note: str | None = None

    @classmethod
    def made(cls, request: LockSet, user: str, via: str | None = None) -> Lock:
        """The lock that somebody asks for.

        Raises:
            InvalidError: it would lock nothing.
        """
        if not request.environment and not request.queue:
            raise InvalidError("Nothing to lock: environment and/or queue must be selected")
        return cls(
            environment=request.environment,
            queue=request.queue,
            lock_key=request.lock_key,
            user=user,
            via=via,
            time=time.time(),
            note=request.note,
        )

    @property
    def guards(self) -> Guard:
        """What is locked."""
        return Guard.of(environment=self.environment, queue=self.queue)

    def opens_with(self, key: str | None, guard: Guard = Guard.ENVIRONMENT | Guard.QUEUE) -> bool:
        """Whether a key gets past the lock of a part, which may not be locked at all."""
        return not (self.guards & guard) or key == self.lock_key

    def require(self, key: str | None, guard: Guard = Guard.ENVIRONMENT | Guard.QUEUE) -> None:
        """Let nobody past without the key.

        Raises:
            LockedError: the part is locked, with another key.
        """
        if not self.opens_with(key, guard):
            raise LockedError(f"Invalid lock key: {self.describe()}")

    def describe(self) -> str:
        """Say who has locked what, and why; never the key."""
        what = " and ".join(guard.name.lower() for guard in self.guards if guard.name)
        via = f" (via {self.via})" if self.via else ""
        return f"{what} locked by {self.user!r}{via} since {self._time_str()}, note: {self.note or '---'}"

    def info(self, *, has_emergency_key: bool) -> LockInfo:
        """What anybody may know."""
        return LockInfo(
            environment=self.environment,
            queue=self.queue,
            user=self.user,
            via=self.via,
            time=self.time,
            time_str=self._time_str(),
            note=self.note,
            emergency_lock_key_is_set=has_emergency_key,
        )

    def _time_str(self) -> str:
        return datetime.fromtimestamp(self.time).strftime("%m/%d/%Y %H:%M:%S") if self.time else ""


NO_LOCK = Lock(uid=str(uuid.UUID(int=0)))
"""Where none has ever been set, or somebody has deleted it from Redis."""
