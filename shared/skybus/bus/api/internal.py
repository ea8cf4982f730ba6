"""What services say to each other: queue, worker, environment, auth. None of it is exported to clients."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from skybus.bus.api.engine import ReMetadata, Run, Suspended
from skybus.bus.api.events import CatalogChanged, EnvironmentFacts
from skybus.bus.api.items import Item
from skybus.bus.endpoints import InternalEndpoint
from skybus.bus.messages import Empty, Message, Nothing


class EnvironmentPhase(StrEnum):
    """Where an environment is in its life, in the reference's words."""

    INITIALIZING = "initializing"
    IDLE = "idle"
    RESERVED = "reserved"
    """As idle, but the IPython kernel is kept for a plan or task to come."""
    EXECUTING_PLAN = "executing_plan"
    EXECUTING_TASK = "executing_task"
    CLOSING = "closing"
    FAILED = "failed"
    CLOSED = "closed"


class EnvironmentState(Message):
    """All that the rest of the house needs to know about an environment; pushed whenever it changes."""

    environment_id: str
    revision: int
    """Grows by one with each state of this environment."""
    phase: EnvironmentPhase
    re_state: str | None = None
    attempt: str | None = None
    """The attempt that runs or is paused."""
    suspended: Suspended | None = None
    """What holds the plan that runs; `re_state` is `running` meanwhile."""
    runs: list[Run] = []
    """Those of the attempt that are open, and of the others the newest: 1000 in all if no more are open."""
    run_list_uid: str = ""
    background_tasks: int = 0
    """How many tasks run beside what has the main thread."""
    catalog_uid: str = ""
    """Changes when plans or devices have changed."""
    has_engine: bool = True
    """Whether the namespace has a RunEngine."""
    task_uid: str | None = None
    """The foreground task that runs."""
    ip_kernel_state: Literal["disabled", "idle", "busy"] = "disabled"
    ip_kernel_captured: bool = True
    """Whether the manager, and nobody at a console, has the IPython kernel; true without a kernel."""


class WorkerState(Message):
    """What the supervisor knows of its environment process."""

    environment_id: str | None = None
    pid: int | None = None
    since: float | None = None
    """Unix seconds of the opening."""
    is_settled: bool = True
    """Whether everything that former environments have left is in the streams."""


class EnvironmentOpen(Message):
    """Start an environment."""

    environment_id: str


class EnvironmentDestroy(Message):
    """Kill the environment."""

    environment_id: str | None = None
    reason: str = ""
    """For the failure message of what runs in it."""


class PlanRun(Message):
    """Run an item; the same attempt is never run twice."""

    attempt: str
    item: Item
    must_be_known: bool = False
    """Refuse with `not_found` what was not asked for before: then it is to be checked first."""


class PlanAccepted(Message):
    """What became of an attempt so far."""

    outcome: Literal["started", "running", "finished"]


class PlanShown(Message):
    """The item that runs or is paused; nothing if none does."""

    attempt: str = ""
    item: Item | None = None
    time_start: float = 0.0
    """Unix seconds."""


class PlanPause(Message):
    """Ask the RunEngine to pause."""

    option: Literal["deferred", "immediate"]


class EngineAsked(Message):
    """The RunEngine was asked for something."""

    is_heard: bool = True
    """Whether it has taken note; while its loop is blocked it cannot."""


class PlanContinue(Message):
    """Go on with a paused plan, or end it."""

    action: Literal["resume", "stop", "abort", "halt"]


class ScriptTask(Message):
    """Run a script; without code this brings only the lists up to date."""

    kind: Literal["script"] = "script"
    script: str
    update_lists: bool
    update_re: bool


class FunctionTask(Message):
    """Call a function of the namespace."""

    kind: Literal["function"] = "function"
    name: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class TaskRun(Message):
    """Run a task; one with the same uid is never run twice."""

    task_uid: str
    task: ScriptTask | FunctionTask = Field(discriminator="kind")
    run_in_background: bool


class TaskAccepted(Message):
    """What became of a task so far."""

    outcome: Literal["started", "running", "finished"]
    time_start: float
    """Unix seconds."""


class Connection(Message):
    """How to connect to the IPython kernel of the environment; empty if there is none."""

    ip_connect_info: dict[str, Any]


class Interrupt(Message):
    """Send Ctrl-C to the IPython kernel."""


class LockCheck(Message):
    """Ask the queue service whether a key gets past the lock."""

    lock_key: str | None = None
    environment: bool = False
    queue: bool = False


class CatalogPart(Message):
    """Ask for one part of the compressed catalogue."""

    part: int = 0


class CatalogBytes(Message):
    """A part of the catalogue: base64 of zlib-compressed JSON `{"plans": {…}, "devices": {…}, "skipped": {…}}`."""

    catalog_uid: str
    parts: int
    data: str


class ItemsCheck(Message):
    """Ask auth whether a user may run these items, and in whose name they are kept."""

    requester: str
    claimed_user: str | None = None
    claimed_group: str | None = None
    items: list[Item]


class ItemMayRun(Message):
    """Ask auth whether an item that is about to run may still be run by the user group that it is kept for."""

    item: Item


class ItemProblem(Message):
    """Why an item is refused; `code` as in the error tree."""

    code: str
    msg: str


class ItemsChecked(Message):
    """For each item nothing or a problem, and who they belong to."""

    user: str
    user_group: str
    problems: list[ItemProblem | None]
    """What keeps an item out of the queue."""
    may_run: list[bool] = []
    """Whether an item could run at once. One without a problem that names devices which its group may not use could
    not: delegates can queue it, as in the reference, and it fails when its turn comes."""
    lists_uid: str = ""
    """Of the lists of what is allowed, `CatalogChanged.allowed_uid`."""
    via: str | None = None
    """The delegate that has claimed the user; nothing if the server has verified the user."""


class NameCheck(Message):
    """Ask auth in whose name somebody acts where no group matters."""

    requester: str
    claimed_user: str


class NameChecked(Message):
    """The claimed name for a delegate, the requester's own for everybody else."""

    user: str
    via: str | None = None
    """The delegate that has claimed the user; nothing if the server has verified the user."""


class RootCheck(Message):
    """Ask auth whether a user is in the group `root`, or a delegate that may claim it."""

    requester: str
    deed: str
    """What is to be done, for the refusal: `change permissions`."""


class PlanReport(Message):
    """How an attempt ended."""

    kind: Literal["report"] = "report"
    environment_id: str
    attempt: str
    item_uid: str
    exit_status: Literal["completed", "failed", "stopped", "aborted", "halted", "unknown"]
    run_uids: list[str] = []
    scan_ids: list[int | None] = []
    time_start: float
    time_stop: float
    msg: str = ""
    traceback: str = ""
    return_value: Any = None
    pause_pending: bool = False
    """A pause was asked for, and the plan ended before it came to a checkpoint."""
    was_begun: bool = True
    """Whether anything of the plan has run. Otherwise the environment was not free, and the item goes back."""


class TaskReport(Message):
    """How a task ended."""

    kind: Literal["task"] = "task"
    environment_id: str
    task_uid: str
    success: bool
    msg: str = ""
    traceback: str = ""
    return_value: Any = None
    """What the function has returned, as far as JSON can carry it."""
    run_in_background: bool
    time_start: float
    time_stop: float
    """Unix seconds."""


class EnvironmentOpened(Message):
    """The startup code has run and the environment takes plans, or it failed with this traceback."""

    kind: Literal["opened"] = "opened"
    environment_id: str
    success: bool
    msg: str = ""
    traceback: str = ""
    facts: EnvironmentFacts | None = None


class EnvironmentExited(Message):
    """The environment process is gone."""

    kind: Literal["exited"] = "exited"
    environment_id: str
    exit_code: int | None = None
    """The exit code, a negative signal number, or nothing if nobody could see it."""
    requested: bool = False
    """Whether a close or a destroy asked for it."""
    msg: str = "RE Worker environment is gone"
    """In words, with the signal's name."""
    output_tail: str = Field(default="", max_length=20_000)
    attempt: str = ""
    """The one that was begun last."""
    runs: list[Run] = []
    """That it has opened, whether they were closed or not."""

    @property
    def last_words(self) -> str:
        """What stands where the traceback of lost work would."""
        return f"The last output of the environment:\n{self.output_tail}" if self.output_tail else ""


LifeReport = PlanReport | TaskReport | EnvironmentOpened | EnvironmentExited

WORKER_OPEN = InternalEndpoint("worker.open", EnvironmentOpen, Nothing)
WORKER_DESTROY = InternalEndpoint("worker.destroy", EnvironmentDestroy, Nothing)
WORKER_STATE = InternalEndpoint("worker.state", Empty, WorkerState)

PLAN_RUN = InternalEndpoint("environment.run", PlanRun, PlanAccepted)
PLAN_SHOW = InternalEndpoint("environment.plan", Empty, PlanShown)
PLAN_PAUSE = InternalEndpoint("environment.pause", PlanPause, EngineAsked)
PLAN_CONTINUE = InternalEndpoint("environment.continue", PlanContinue, Nothing)
PLAN_ABORT = InternalEndpoint("environment.abort", Empty, EngineAsked)
"""End the plan as a failure, paused or not."""
ENVIRONMENT_STATE = InternalEndpoint("environment.state", Empty, EnvironmentState)
ENVIRONMENT_END = InternalEndpoint("environment.close", Empty, Nothing)
ENVIRONMENT_CATALOG = InternalEndpoint("environment.catalog", CatalogPart, CatalogBytes)
TASK_RUN = InternalEndpoint("environment.task", TaskRun, TaskAccepted)
ENGINE_METADATA = InternalEndpoint("environment.metadata", Empty, ReMetadata)
KERNEL_CONNECTION = InternalEndpoint("environment.kernel_connection", Empty, Connection)
KERNEL_RESERVE = InternalEndpoint("environment.kernel_reserve", Empty, EnvironmentState)
"""Get the IPython kernel for what follows; it is free again if nothing follows within some seconds."""
KERNEL_RELEASE = InternalEndpoint("environment.kernel_release", Empty, EnvironmentState)
"""Let consoles have the IPython kernel; answered when they have it."""
KERNEL_SIGNAL = InternalEndpoint("environment.kernel_interrupt", Interrupt, Nothing)

LOCK_CHECK = InternalEndpoint("queue.lock_check", LockCheck, Nothing)

ITEMS_CHECK = InternalEndpoint("auth.check", ItemsCheck, ItemsChecked)
NAME_CHECK = InternalEndpoint("auth.name", NameCheck, NameChecked)
ROOT_CHECK = InternalEndpoint("auth.root", RootCheck, Nothing)
ITEM_MAY_RUN = InternalEndpoint("auth.may_run", ItemMayRun, Nothing)
"""Refused as `auth.check` would refuse the item now: rights and lists may have changed since it was queued."""
CATALOG_UIDS = InternalEndpoint("auth.catalog_uids", Empty, CatalogChanged)
CATALOG_REFRESH = InternalEndpoint("auth.catalog_refresh", Empty, CatalogChanged)
"""Answered when auth has the catalogue that the environment has now."""

ENVIRONMENT_STATE_TOPIC = "state"
"""`sky.{inst}.int.state`: each new `EnvironmentState`, a hint that may be lost."""
