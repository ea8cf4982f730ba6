"""What the Bluesky Queue Server keeps in Redis, read in one step; nothing of it is changed.

Keys, below `{prefix}_` (without the line if the prefix is empty)
    plan_queue               list     items, the front first
    plan_history             list     items with result, the oldest first
    running_plan             string   the item that runs, or `{}`
    plan_queue_mode          string   `loop`, `ignore_failures`
    lock_info                string   who has locked what, with the key
    user_group_permissions   string   those that hold
    autostart_mode_info      string   `enabled`
    stop_pending_info        string   `enabled`
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from skybus.bus.api.items import Item
from skybus.bus.api.queue import QueueMode
from skybus.bus.errors import InvalidError, UnavailableError, why
from skybus.bus.json_values import read_json, unreadable
from skybus.bus.messages import Message, explain
from skybus.queue.locks import NO_LOCK, Lock

_STRINGS = ("running_plan", "plan_queue_mode", "lock_info", "user_group_permissions", "autostart_mode_info")


class ReferenceState(Message):
    """All that there was to take over."""

    queue: list[Item]
    running: Item | None
    history: list[Item]
    mode: QueueMode
    lock: Lock
    permissions: dict[str, Any] | None
    autostart: bool
    dropped: int
    """Items without a uid, which the reference drops when it starts."""

    @property
    def is_empty(self) -> bool:
        """Whether the reference has never kept anything under this prefix."""
        return not (self.queue or self.history or self.running or self.permissions or self.lock.lock_key)


async def read_reference(url: str, prefix: str) -> ReferenceState:
    """Read everything.

    Raises:
        UnavailableError: Redis does not answer.
        InvalidError: something there was not written by the reference.
    """
    start = f"{prefix}_" if prefix else ""
    try:
        async with Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2) as redis:
            pipe = redis.pipeline(transaction=True)
            pipe.lrange(start + "plan_queue", 0, -1)
            pipe.lrange(start + "plan_history", 0, -1)
            pipe.mget(*(start + name for name in _STRINGS))
            queue, history, strings = await pipe.execute()
    except (RedisError, OSError, ValueError) as error:
        raise UnavailableError(f"cannot read from {url.rpartition('@')[2]}: {why(error)}") from None
    return _state(queue, history, dict(zip(_STRINGS, strings, strict=True)))


def _state(queue: list[bytes], history: list[bytes], strings: dict[str, bytes | None]) -> ReferenceState:
    waiting, filed = _read_all(queue, "plan_queue"), _read_all(history, "plan_history")
    running = _read(strings["running_plan"], "running_plan")
    good = [item for item in waiting if _has_uid(item)]
    try:
        return ReferenceState(
            queue=good,
            running=running if running and _has_uid(running) else None,
            history=filed,
            mode=QueueMode.model_validate(_read(strings["plan_queue_mode"], "plan_queue_mode") or {}),
            lock=_lock(_read(strings["lock_info"], "lock_info") or {}),
            permissions=_read(strings["user_group_permissions"], "user_group_permissions"),
            autostart=bool((_read(strings["autostart_mode_info"], "autostart_mode_info") or {}).get("enabled")),
            dropped=len(waiting) - len(good),
        )
    except ValidationError as error:
        raise InvalidError(f"what is stored there cannot be used: {explain(error)}") from None


def _lock(info: dict[str, Any]) -> Lock:
    if not info.get("lock_key") or not (info.get("environment") or info.get("queue")):
        return NO_LOCK
    return Lock(
        environment=bool(info.get("environment")),
        queue=bool(info.get("queue")),
        lock_key=info["lock_key"],
        user=info.get("user"),
        time=info.get("time"),
        note=info.get("note"),
    )


def _has_uid(item: Item) -> bool:
    return isinstance(item.get("item_uid"), str)


def _read_all(texts: list[bytes], name: str) -> list[dict[str, Any]]:
    return [_read(text, name) or {} for text in texts]


def _read(text: bytes | None, name: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = read_json(text)
    except ValueError as error:
        raise InvalidError(f"{name} is not JSON: {unreadable(text) or error}") from None
    if not isinstance(value, dict):
        raise InvalidError(f"{name} holds {str(value)[:80]!r}, not a dictionary")
    return value
