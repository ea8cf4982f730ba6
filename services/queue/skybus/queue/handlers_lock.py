"""Who answers the endpoints of the lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skybus.bus.api import lock
from skybus.bus.api.internal import LOCK_CHECK, LockCheck
from skybus.bus.errors import LockedError
from skybus.bus.messages import Nothing
from skybus.bus.service import Handler
from skybus.queue.announcer import Announcer
from skybus.queue.book import Book
from skybus.queue.item_check import ItemCheck
from skybus.queue.keeper import Keeper
from skybus.queue.locks import Guard, Lock


class LockHandlers:
    """Locks, unlocks, and says what is locked.

    Args:
        emergency_key: opens what is locked with a key that is lost.
    """

    def __init__(self, keeper: Keeper, check: ItemCheck, announcer: Announcer, emergency_key: str | None) -> None:
        self._keeper = keeper
        self._check = check
        self._announcer = announcer
        self._emergency_key = emergency_key

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(lock.LOCK, self.set),
            Handler(lock.LOCK_INFO, self.get),
            Handler(lock.UNLOCK, self.release),
            Handler(LOCK_CHECK, self.check),
        ]

    async def set(self, request: lock.LockSet) -> lock.LockShown:
        """Lock, or with the key lock something else."""
        owner = await self._check.name(request.user)
        wanted = Lock.made(request, owner.user, owner.via)

        def alter(book: Book) -> lock.LockShown:
            if not book.lock.opens_with(request.lock_key):
                raise LockedError(f"RE Manager was locked with a different key: {book.lock.describe()}")
            book.set_lock(wanted)
            return self._shown(book.lock)

        return await self._change(alter)

    async def get(self, request: lock.LockInfoGet) -> lock.LockShown:
        """Say what is locked; a key that is given must be the one."""

        async def read() -> lock.LockShown:
            current = (await self._keeper.fresh()).lock
            if request.lock_key is not None:
                self._require(current, request.lock_key)
            return self._shown(current)

        return await self._keeper.do(read)

    async def release(self, request: lock.Unlock) -> lock.LockShown:
        """Unlock; what is not locked stays as it is."""

        def alter(book: Book) -> lock.LockShown:
            if request.lock_key != self._emergency_key:
                self._require(book.lock, request.lock_key)
            if book.lock.guards:
                book.set_lock(Lock())
            return self._shown(book.lock)

        return await self._change(alter)

    async def check(self, request: LockCheck) -> Nothing:
        """Let another service ask for an endpoint of its own."""
        guard = Guard.of(environment=request.environment, queue=request.queue)

        async def read() -> Nothing:
            (await self._keeper.fresh()).lock.require(request.lock_key, guard)
            return Nothing()

        return await self._keeper.do(read)

    async def _change(self, alter: Callable[[Book], lock.LockShown]) -> lock.LockShown:
        before = self._keeper.last.lock.uid
        shown = await self._keeper.change(alter)
        if shown.lock_info_uid != before:
            self._announcer.lock(self._keeper.last.lock)
        return shown

    def _require(self, current: Lock, key: str) -> None:
        """Tell who has the wrong key also what is locked, as facts."""
        try:
            current.require(key)
        except LockedError as error:
            raise LockedError(error.message, **self._shown(current).model_dump()) from None

    def _shown(self, current: Lock) -> lock.LockShown:
        info = current.info(has_emergency_key=self._emergency_key is not None)
        return lock.LockShown(lock_info=info, lock_info_uid=current.uid)
