"""Events that clients receive on `sky.{inst}.evt.{topic}`: hints, each with a uid or revision to compare."""

from __future__ import annotations

from typing import Literal

from skybus.bus.messages import Message


class QueueChanged(Message):
    """Topic `queue`: items were added, moved or taken out, or one has begun to run."""

    plan_queue_uid: str
    qsize: int
    running_item_uid: str | None = None


class HistoryChanged(Message):
    """Topic `history`: an item was filed, or some were forgotten."""

    plan_history_uid: str
    size: int


class EnvironmentFacts(Message):
    """What an environment is made of, and what to know about it."""

    python: str
    """Version."""
    executable: str
    versions: dict[str, str]
    """Of the packages that matter, `bluesky` and `ophyd` among them."""
    startup_commit: str | None = None
    """Where the startup code is a git checkout; `-dirty` behind it says that files there differ from the commit."""
    warnings: list[str] = []
    """What of the startup code is not listed, or not as it is, and what to do about it; some hundred at most."""


class EnvironmentChanged(Message):
    """Topic `environment`: it has opened, failed to open, or is gone."""

    state: Literal["opened", "failed", "closed"]
    msg: str = ""
    traceback: str = ""
    """Of startup code that failed, or the last output of an environment that nobody has asked to end."""
    facts: EnvironmentFacts | None = None
    """Of one that has opened."""


class ItemChanged(Message):
    """Topic `item.{item_uid}`: where an item is in its life."""

    item_uid: str
    state: Literal["running", "completed", "failed", "stopped", "aborted", "halted", "unknown", "returned"]
    """`returned`: the environment was not free, nothing of the item has run, and it is at the front of the queue."""
    name: str
    run_uids: list[str] = []
    msg: str = ""


class CatalogChanged(Message):
    """Topic `catalog`: other plans or devices exist, or are allowed."""

    plans_existing_uid: str
    devices_existing_uid: str
    plans_allowed_uid: str
    devices_allowed_uid: str

    @property
    def allowed_uid(self) -> str:
        """Changes when either list of what is allowed has changed."""
        return f"{self.plans_allowed_uid} {self.devices_allowed_uid}"


class TaskChanged(Message):
    """Topic `task.{task_uid}`: a task has begun or ended."""

    task_uid: str
    state: Literal["running", "completed"]
    success: bool | None = None
    msg: str = ""


class LockChanged(Message):
    """Topic `lock`: the lock was set or taken away."""

    lock_info_uid: str
    environment: bool
    queue: bool
    user: str | None = None
    via: str | None = None


class ServiceStarted(Message):
    """Topic `service.{name}`: a service is there, for the first time or again."""

    name: str
    version: str


class PermissionsChanged(Message):
    """Topic `permissions`: other permissions hold."""

    permissions_uid: str
