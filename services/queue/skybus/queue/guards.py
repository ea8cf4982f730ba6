"""Which endpoint is guarded by which lock, and how a request gets past it.

The check is made in the first turn of the keeper that a request takes: between the check and the change nothing can
happen, so nothing slips past a lock that was just granted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from skybus.bus.api import backup, engine, environment, history, permissions, queue, tasks
from skybus.bus.service import Handler
from skybus.queue.locks import Guard, Lock

_TABLE = {
    Guard.ENVIRONMENT: (
        environment.ENVIRONMENT_OPEN,
        environment.ENVIRONMENT_CLOSE,
        environment.ENVIRONMENT_DESTROY,
        tasks.ENVIRONMENT_UPDATE,
        tasks.SCRIPT_UPLOAD,
        tasks.FUNCTION_EXECUTE,
        queue.QUEUE_START,
        queue.QUEUE_STOP,
        queue.QUEUE_STOP_CANCEL,
        queue.QUEUE_AUTOSTART,
        queue.ITEM_EXECUTE,
        engine.RE_PAUSE,
        engine.RE_RESUME,
        engine.RE_STOP,
        engine.RE_ABORT,
        engine.RE_HALT,
        engine.KERNEL_INTERRUPT,
    ),
    Guard.QUEUE: (
        queue.ITEM_ADD,
        queue.ITEM_ADD_BATCH,
        queue.ITEM_UPDATE,
        queue.ITEM_REMOVE,
        queue.ITEM_REMOVE_BATCH,
        queue.ITEM_MOVE,
        queue.ITEM_MOVE_BATCH,
        queue.QUEUE_CLEAR,
        queue.QUEUE_MODE_SET,
        history.HISTORY_CLEAR,
        backup.RESTORE_BEGIN,
        backup.RESTORE_FINISH,
        permissions.PERMISSIONS_SET,  # answered by auth, which asks with LOCK_CHECK
        permissions.PERMISSIONS_RELOAD,
    ),
}
GUARDS = {endpoint.name: guard for guard, endpoints in _TABLE.items() for endpoint in endpoints}
"""By the name of the endpoint."""


@dataclass
class Entry:
    """A request's way past the lock."""

    guard: Guard
    key: str | None
    is_admitted: bool = False

    def admit(self, lock: Lock) -> None:
        """Let the request in, once; what it does later was allowed then.

        Raises:
            LockedError: its key is not the one.
        """
        if not self.is_admitted:
            lock.require(self.key, self.guard)
            self.is_admitted = True


_entry: ContextVar[Entry | None] = ContextVar("entry", default=None)


def current_entry() -> Entry | None:
    """The entry of the request that is being answered, if its endpoint is guarded."""
    return _entry.get()


def guarded(handlers: Iterable[Handler[Any, Any]], known_lock: Callable[[], Lock]) -> list[Handler[Any, Any]]:
    """Have the handlers of guarded endpoints answer only who has the key.

    Args:
        handlers: of any endpoints.
        known_lock: the lock as it is known now. A request that it stops is refused before anything else is looked at.
    """
    return [_guarded(handler, known_lock) for handler in handlers]


def _guarded(handler: Handler[Any, Any], known_lock: Callable[[], Lock]) -> Handler[Any, Any]:
    guard = GUARDS.get(handler.endpoint.name)
    if guard is None:
        return handler

    async def answer(request: Any) -> Any:
        known_lock().require(request.lock_key, guard)
        _entry.set(Entry(guard, request.lock_key))
        return await handler.answer(request)

    return dataclasses.replace(handler, answer=answer)
