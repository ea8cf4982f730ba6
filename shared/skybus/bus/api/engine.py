"""Endpoints of the Run Engine: pause, what becomes of a paused plan, the runs of the running plan."""

from __future__ import annotations

from typing import Any, Literal

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message, Nothing, Request

RunOption = Literal["active", "open", "closed"]
AbortStep = Literal["deferred_pause", "immediate_pause", "abort", "kill"]
"""What ends a plan: a pause at its next checkpoint, a pause now, its abort, the death of the environment."""


class RePause(Request):
    """Pause the running plan: at its next checkpoint, or now, going back to the last one."""

    option: Literal["deferred", "immediate"] = "deferred"
    lock_key: str | None = None


class ReContinue(Request):
    """Go on with a paused plan, or end it."""

    lock_key: str | None = None


class ReAbort(Request):
    """End a paused or suspended plan as a failure, or with `now` the one that runs, by whatever it takes."""

    now: bool = False
    """Begin with a deferred pause, take a harder step whenever one has not worked, and answer when the plan is over."""
    lock_key: str | None = None


class ReAborted(Message):
    """How a plan is ended."""

    steps: list[AbortStep] = []
    """In the order in which they were taken; with `now`, the last one has ended the plan.

    Empty if the plan was ended and the queue service died before it could say how.
    """


class ReRuns(Request):
    """List the runs of the running plan."""

    option: RunOption = "active"


class Run(Message):
    """A run that a plan has opened."""

    uid: str
    scan_id: int | None = None
    is_open: bool = True
    exit_status: str | None = None


class Suspended(Message):
    """What holds a plan, which goes on by itself when that is over."""

    by: list[str] = []
    """The suspenders, each with its signal: `SuspendFloor(ring_current)`; empty if user code holds the plan itself."""
    since: float
    """Unix seconds."""
    justification: str = ""


class RunList(Message):
    """Runs in the order they were opened; of a plan that has opened more than 1000, the newest and the open ones."""

    run_list: list[Run]
    run_list_uid: str


class ReMetadata(Message):
    """The metadata of the RunEngine (`RE.md`), or the part of it that a site shows."""

    re_metadata: dict[str, Any]


class KernelInterrupt(Request):
    """Send Ctrl-C to the IPython kernel of the environment."""

    interrupt_task: bool = False
    """Also while a foreground task runs."""
    interrupt_plan: bool = False
    """Also while a plan runs: it pauses."""
    lock_key: str | None = None


RE_PAUSE = Endpoint("re.pause", RePause, Nothing, changes=True)
RE_RESUME = Endpoint("re.resume", ReContinue, Nothing, changes=True)
RE_STOP = Endpoint("re.stop", ReContinue, Nothing, changes=True)
RE_ABORT = Endpoint("re.abort", ReAbort, ReAborted, changes=True)
RE_HALT = Endpoint("re.halt", ReContinue, Nothing, changes=True)
RE_RUNS = Endpoint("re.runs", ReRuns, RunList)
RE_METADATA = Endpoint("re.metadata", Empty, ReMetadata)
KERNEL_INTERRUPT = Endpoint("kernel.interrupt", KernelInterrupt, Nothing, changes=True)
