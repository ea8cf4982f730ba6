"""Answers for tasks, and for the metadata of the RunEngine; all of it runs in the asyncio thread."""

from __future__ import annotations

import asyncio
from typing import Any

from skybus.bus.api.engine import ReMetadata
from skybus.bus.api.internal import (
    ENGINE_METADATA,
    TASK_RUN,
    EnvironmentPhase,
    TaskAccepted,
    TaskReport,
    TaskRun,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import WrongStateError
from skybus.bus.messages import Empty
from skybus.bus.service import Handler
from skybus.worker.environment.ended_tasks import EndedTasks
from skybus.worker.environment.execution import Executor, RunTask
from skybus.worker.environment.handlers import engine_facts
from skybus.worker.environment.metadata import read_metadata
from skybus.worker.environment.space import Space
from skybus.worker.environment.state import AT_REST, StateKeeper
from skybus.worker.environment.task import NAMES, Task
from skybus.worker.environment.task_work import work_of
from skybus.worker.environment.telling import Telling
from skybus.worker.environment.turns import Turns

BESIDE = (*AT_REST, EnvironmentPhase.EXECUTING_PLAN, EnvironmentPhase.EXECUTING_TASK)
"""Phases in which a task may begin in the background."""


class TaskHandlers:
    """Starts tasks and says what became of them."""

    def __init__(self, state: StateKeeper, executor: Executor, telling: Telling, bus: Bus, turns: Turns) -> None:
        self._state = state
        self._turns = turns
        self._executor = executor
        self._telling = telling
        self._bus = bus
        self._space: Space | None = None
        self._running: dict[str, Task] = {}
        self._ended = EndedTasks()

    def table(self) -> list[Handler[Any, Any]]:
        """Who answers what."""
        return [Handler(TASK_RUN, self.run_task), Handler(ENGINE_METADATA, self.get_metadata)]

    def opened(self, space: Space) -> None:
        """The startup code has run."""
        self._space = space

    def task_ended(self, report: TaskReport) -> None:
        """The task has ended in one way or another."""
        if report.run_in_background:
            self._take_note(report)
        else:
            self._turns.give_back(lambda: self._take_note(report))

    def _take_note(self, report: TaskReport) -> None:
        assert self._space
        del self._running[report.task_uid]
        facts = {"catalog_uid": self._space.offer.uid}
        if self._state.state.attempt is None:
            facts |= engine_facts(self._space)
        if not report.run_in_background:
            facts |= {"phase": EnvironmentPhase.IDLE, "task_uid": None}
        self._state.change(**facts, **self._background())
        self._telling.task_report(report)
        self._ended.add(report)

    async def run_task(self, request: TaskRun) -> TaskAccepted:
        """Run a task, unless it was seen before."""
        if seen := self._seen(request.task_uid):
            return seen
        if not request.run_in_background:
            self._space_for(request)
            await self._turns.take()
            if seen := self._seen(request.task_uid):  # asked for once more meanwhile
                return seen
        task = Task(
            self._state.state.environment_id,
            request,
            work_of(request, self._space_for(request)),
            self._bus.max_request,
        )
        self._running[task.uid] = task
        self._start(task)
        return TaskAccepted(outcome="started", time_start=task.time_start)

    async def get_metadata(self, _request: Empty) -> ReMetadata:
        """Give the metadata of the RunEngine, as far as it may be shown."""
        space = self._space
        if space is None:
            raise WrongStateError(f"There is no Run Engine: the environment is '{self._state.state.phase}'")
        # dictionaries that live in files take their time
        return ReMetadata(re_metadata=await asyncio.to_thread(read_metadata, space.engine, space.shown_metadata))

    # --------------------------------------------------------------------------------------------------------------

    def _seen(self, task_uid: str) -> TaskAccepted | None:
        if task := self._running.get(task_uid):
            return TaskAccepted(outcome="running", time_start=task.time_start)
        ended = self._ended.get(task_uid)
        if ended is None:
            return None
        if ended.report:
            self._telling.task_report(ended.report, again=True)
        return TaskAccepted(outcome="finished", time_start=ended.time_start)

    def _space_for(self, request: TaskRun) -> Space:
        what = f"Task {NAMES[request.task.kind]!r} can not be started"
        if not request.run_in_background:
            self._state.require_idle(what)
        elif self._state.state.phase not in BESIDE:
            raise WrongStateError(f"{what}: the environment is '{self._state.state.phase}'")
        assert self._space
        return self._space

    def _start(self, task: Task) -> None:
        if task.request.run_in_background:
            self._state.change(**self._background())
            self._executor.run_beside(task)
        else:
            self._turns.begin()
            self._state.change(phase=EnvironmentPhase.EXECUTING_TASK, task_uid=task.uid)
            self._executor.order(RunTask(task))

    def _background(self) -> dict[str, Any]:
        return {"background_tasks": sum(task.request.run_in_background for task in self._running.values())}
