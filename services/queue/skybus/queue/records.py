"""What the book holds: the running item, the running tasks, small flags."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import Field

from skybus.bus.api.health import Absence
from skybus.bus.api.internal import TaskRun
from skybus.bus.api.items import Item
from skybus.bus.api.queue import QueueMode
from skybus.bus.messages import Message

Command = tuple[str | bytes | float, ...]
"""A Redis command; its second word is the name of a key of the book, without prefix."""


def new_uid() -> str:
    """A new unique id."""
    return str(uuid.uuid4())


class Running(Message):
    """The item that runs."""

    item: Item
    attempt: str
    environment_id: str
    time_start: float
    """Unix seconds."""
    immediate: bool = False
    """Executed past the queue: it never goes back there."""

    def shown(self) -> Item:
        """The item as clients see it while it runs."""
        marks = {"time_start": self.time_start} | ({"immediate_execution": True} if self.immediate else {})
        return {**self.item, "properties": marks}


class RunningTask(Message):
    """A task that runs, in the foreground or beside it."""

    order: TaskRun
    environment_id: str
    time_start: float
    """Unix seconds."""

    @property
    def uid(self) -> str:
        """The uid of the task."""
        return self.order.task_uid

    @property
    def is_foreground(self) -> bool:
        """Whether nothing else runs meanwhile."""
        return not self.order.run_in_background

    def shown(self) -> dict[str, Any]:
        """The task as clients see it while it runs."""
        return {
            "task_uid": self.uid,
            "time_start": self.time_start,
            "run_in_background": self.order.run_in_background,
        }


class Flags(Message):
    """Small things that outlive a restart."""

    mode: QueueMode = QueueMode()
    autostart: bool = False
    stop_pending: bool = False
    queue_uid: str = Field(default_factory=new_uid)
    history_uid: str = Field(default_factory=new_uid)
    history_start: int = 0
    """How many items the history has forgotten: so an item has the same number as long as it is there."""
    task_results_uid: str = Field(default_factory=new_uid)
    stack_run: str = ""
    """The stack that ran last: a new one forgets autostart and a pending stop."""
    doubt: Absence | None = None
    """Why a person must look at the queue before it is started."""
    stopped: Absence | None = None
    """Why the environment could not take the item that is at the front, until the queue is started."""


def renewed(item: Item, attempt: str = "") -> Item:
    """The same item under a new uid: for one attempt the same each time, so that its own reports find it again."""
    return {**item, "item_uid": uid_after(attempt) if attempt else new_uid()}


def uid_after(attempt: str) -> str:
    """The uid under which an item is in the queue again after an attempt."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, attempt))
