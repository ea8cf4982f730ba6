"""Endpoints of tasks: scripts and functions that the environment runs besides plans, and what came of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from skybus.bus.api.items import ByClaim, Item
from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message, Request

TaskStatus = Literal["running", "completed", "not_found"]


class ScriptUpload(Request):
    """Run a script in the namespace of the environment."""

    script: str
    """Python code."""
    update_lists: bool = True
    """Afterwards, describe plans and devices anew."""
    update_re: bool = False
    """Let a RunEngine `RE` that the script makes take the place of the present one."""
    run_in_background: bool = False
    """In a thread of its own, beside a plan or another task."""
    lock_key: str | None = None


class FunctionSpec(Request):
    """A call of a function of the namespace."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    item_type: Literal["function"]
    name: str = Field(min_length=1, max_length=256)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}

    def to_item(self) -> Item:
        """The fields that the client has set."""
        return self.model_dump(exclude_unset=True)


class FunctionExecute(ByClaim):
    """Call a function in the environment."""

    item: FunctionSpec
    run_in_background: bool = False
    lock_key: str | None = None


class EnvironmentUpdate(Request):
    """Describe plans and devices anew and take the RunEngine that the namespace has now."""

    run_in_background: bool = False
    lock_key: str | None = None


class TaskStarted(Message):
    """The task is begun; its result is asked for by uid, or comes as an event `task.{task_uid}`."""

    task_uid: str


class FunctionStarted(TaskStarted):
    """The call with its uid and in whose name it is made."""

    item: Item


class TaskStatusGet(Request):
    """Ask for the status of tasks."""

    task_uids: list[str] = Field(max_length=10_000)


class TaskStatuses(Message):
    """Status by task uid."""

    statuses: dict[str, TaskStatus]


class TaskResultGet(Request):
    """Ask for what came of a task."""

    task_uid: str


class TaskResult(Message):
    """What came of a task."""

    task_uid: str
    status: TaskStatus
    result: dict[str, Any] = {}
    """Of a task that runs: `task_uid`, `time_start`, `run_in_background`; of a completed one: `task_uid`, `success`,
    `msg`, `return_value`, `traceback`, `time_start`, `time_stop` (unix s); otherwise empty."""


SCRIPT_UPLOAD = Endpoint("script.upload", ScriptUpload, TaskStarted, changes=True)
FUNCTION_EXECUTE = Endpoint("function.execute", FunctionExecute, FunctionStarted, changes=True)
ENVIRONMENT_UPDATE = Endpoint("environment.update", EnvironmentUpdate, TaskStarted, changes=True)
TASK_STATUS = Endpoint("task.status", TaskStatusGet, TaskStatuses)
TASK_RESULT = Endpoint("task.result", TaskResultGet, TaskResult)
