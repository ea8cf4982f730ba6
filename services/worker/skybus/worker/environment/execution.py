"""The main thread of the environment: it does what the asyncio thread orders, one thing after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

import structlog

from skybus.bus.api.internal import PlanReport, TaskReport
from skybus.bus.errors import SkybusError
from skybus.worker.environment.attempt import Attempt
from skybus.worker.environment.engine import Engine, OnDocument, OnWaiting, PlanEndedEarlyError
from skybus.worker.environment.output import Output
from skybus.worker.environment.own_process import in_this_process
from skybus.worker.environment.plan_call import plan_metadata
from skybus.worker.environment.run_engine_internals import Plan
from skybus.worker.environment.task import Task

log = structlog.get_logger()


@dataclass(frozen=True)
class RunPlan:
    """Run an item; `on_document` and `on_waiting` are called in the thread of the RunEngine."""

    attempt: Attempt
    engine: Engine
    build: Callable[[], Callable[[], Plan]]
    """Finds the plan and its arguments in the namespace."""
    on_document: OnDocument
    on_waiting: OnWaiting


@dataclass(frozen=True)
class GoOn:
    """Go on with the paused plan, or end it."""

    action: str


@dataclass(frozen=True)
class RunTask:
    """Run a task in the foreground."""

    task: Task


@dataclass(frozen=True)
class Release:
    """Let others have the main thread."""


@dataclass(frozen=True)
class Leave:
    """End the process."""

    exit_code: int


Command = RunPlan | GoOn | RunTask | Release | Leave


class Listener(Protocol):
    """Who is told what comes of a plan or a task; called in the thread that has run it."""

    def plan_paused(self) -> None:
        """The plan waits for somebody to say how to go on."""

    def plan_ended(self, report: PlanReport) -> None:
        """The plan has ended in one way or another."""

    def task_ended(self, report: TaskReport) -> None:
        """The task has ended in one way or another."""


class NotBegunError(Exception):
    """The RunEngine is taken: the plan was not begun."""


class Executor:
    """Runs plans and tasks.

    Args:
        guard: surrounds user code in the main thread.
    """

    def __init__(
        self, output: Output, listener: Listener, guard: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._output = output
        self._listener = listener
        self._guard = guard
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._present: RunPlan | None = None

    def order(self, command: Command) -> None:
        """Have something done; may be called from any thread."""
        self._commands.put(command)

    def forget_plan(self) -> None:
        """The paused plan has ended without us; may be called from any thread."""
        self._output.set_item(None)

    def run_beside(self, task: Task) -> None:
        """Run a task in a thread of its own, which ends with the process at the latest."""
        run = threading.Thread(target=self._run_task, args=(task,), name=f"task {task.uid}", daemon=True)
        run.start()

    def work(self) -> int | None:
        """Work until told to leave, and return the exit code, or until others want to have the main thread."""
        while True:
            command = self._commands.get()
            match command:
                case Leave():
                    return command.exit_code
                case Release():
                    return None
                case RunPlan():
                    self._present = command
                    self._output.set_item(command.attempt.item_uid)
                    self._do("run", partial(_run, command))
                case GoOn() if self._present:
                    self._do(command.action, partial(self._present.engine.go_on, command.action))
                case RunTask():
                    self._output.set_item(command.task.uid)
                    self._run_task(replace(command.task, work=partial(self._guarded, command.task.work)))

    def _do(self, action: str, work: Callable[[], Any]) -> None:
        """Run or continue the plan until it pauses or ends."""
        assert self._present
        attempt, engine = self._present.attempt, self._present.engine
        try:
            result = self._guarded(work)
        except NotBegunError as error:
            report = attempt.not_begun(str(error))
            log.warning("plan not begun", item_uid=attempt.item_uid, reason=report.msg)
        except BaseException as error:  # whatever the plan has done, the environment lives on
            if engine.state == "paused":
                self._output.read_rest()
                self._listener.plan_paused()
                return
            if isinstance(error, PlanEndedEarlyError):
                report = attempt.ended_early(error.ending, by_user_code=error.by_user_code)
            else:
                report = attempt.failed(error, pause_pending=engine.is_pause_pending)
            log.info("plan failed", item_uid=attempt.item_uid, error=report.msg)
        else:
            report = attempt.ended(action, result, pause_pending=engine.is_pause_pending)
        self._present = None
        self._output.set_item(None)
        self._listener.plan_ended(report)

    def _guarded(self, work: Callable[[], Any]) -> Any:
        with self._guard(), in_this_process():
            return work()

    def _run_task(self, task: Task) -> None:
        report = task.run()
        if not report.run_in_background:
            self._output.set_item(None)
        if not report.success:
            log.info("task failed", task_uid=task.uid, error=report.msg)
        self._listener.task_ended(report)


def _run(command: RunPlan) -> Any:
    attempt, engine = command.attempt, command.engine
    if engine.state != "idle":
        raise NotBegunError(f"Run Engine is in {engine.state!r} state. Stop or finish any running plan.")
    try:
        plan = command.build()
        metadata = attempt.metadata(plan_metadata(attempt.item))
    except SkybusError as error:
        raise RuntimeError(f"Error occurred while processing plan parameters or starting the plan: {error}") from error
    return engine.run(plan, metadata, command.on_document, command.on_waiting)
