"""What the environment answers on the bus; all of it runs in the asyncio thread."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

import structlog

from skybus.bus.api.engine import Suspended
from skybus.bus.api.internal import (
    ENVIRONMENT_CATALOG,
    ENVIRONMENT_END,
    ENVIRONMENT_STATE,
    PLAN_ABORT,
    PLAN_CONTINUE,
    PLAN_PAUSE,
    PLAN_RUN,
    PLAN_SHOW,
    CatalogBytes,
    CatalogPart,
    EngineAsked,
    EnvironmentPhase,
    EnvironmentState,
    PlanAccepted,
    PlanContinue,
    PlanPause,
    PlanReport,
    PlanRun,
    PlanShown,
)
from skybus.bus.errors import NotFoundError, WrongStateError
from skybus.bus.messages import Empty, Nothing
from skybus.bus.service import Handler
from skybus.worker.environment.attempt import Attempt
from skybus.worker.environment.ended_plans import EndedPlans
from skybus.worker.environment.engine import Engine
from skybus.worker.environment.execution import Executor, GoOn, RunPlan
from skybus.worker.environment.failures import reason
from skybus.worker.environment.plan_call import build_plan
from skybus.worker.environment.progress import ProgressMeter
from skybus.worker.environment.space import Space
from skybus.worker.environment.state import StateKeeper
from skybus.worker.environment.telling import Telling
from skybus.worker.environment.turns import Turns

log = structlog.get_logger()

ENGINE_PATIENCE = 1.0
"""Seconds that the RunEngine's loop has to take note of what it is asked for; one that is stuck takes note later."""
RUNS_SETTLE = 0.1
"""Seconds after which it is told that the list of runs has changed, which may be long, and which clients read again:
a plan that closes a run opens the next one, or ends, within milliseconds."""
CELL_PATIENCE = 0.5
"""Seconds that a cell has to end after the plan that it has run, before the end of the plan is reported."""


class Life(Protocol):
    """Ends the process."""

    def close(self) -> None:
        """End it when the replies are sent."""


class EnvironmentHandlers:
    """Answers for one environment."""

    def __init__(self, state: StateKeeper, executor: Executor, telling: Telling, life: Life, turns: Turns) -> None:
        self._state = state
        self._executor = executor
        self._turns = turns
        self._telling = telling
        self._life = life
        self._space: Space | None = None
        self._attempt: Attempt | None = None
        self._engine: Engine | None = None
        """Runs the attempt; the namespace may have another one meanwhile."""
        self._progress: ProgressMeter | None = None
        self._ended = EndedPlans()
        self._end_by_hand: asyncio.TimerHandle | None = None
        self._runs_settle: asyncio.TimerHandle | None = None

    def table(self) -> list[Handler[Any, Any]]:
        """Who answers what."""
        return [
            Handler(PLAN_RUN, self.run_plan),
            Handler(PLAN_SHOW, self.show_plan),
            Handler(PLAN_PAUSE, self.pause_plan),
            Handler(PLAN_ABORT, self.abort_plan),
            Handler(PLAN_CONTINUE, self.continue_plan),
            Handler(ENVIRONMENT_STATE, self.get_state),
            Handler(ENVIRONMENT_END, self.end),
            Handler(ENVIRONMENT_CATALOG, self.get_catalog),
        ]

    def opened(self, space: Space) -> None:
        """The startup code has run."""
        self._space = space
        self._state.change(phase=EnvironmentPhase.IDLE, catalog_uid=space.offer.uid, **engine_facts(space))

    def plan_paused(self) -> None:
        """The plan waits for somebody to say how to go on."""
        self._turns.give_back(lambda: self._state.change(phase=EnvironmentPhase.IDLE, re_state="paused"))

    def plan_ended(self, report: PlanReport) -> None:
        """The plan has ended in one way or another."""
        self._turns.end()
        self._telling.report(report)
        self._ended.add(report)
        if self._progress:
            self._progress.finish()
        if self._runs_settle:
            self._runs_settle.cancel()
            self._runs_settle = None
        self._attempt = self._progress = self._engine = None
        assert self._space
        self._state.change(
            phase=EnvironmentPhase.IDLE,
            attempt=None,
            suspended=None,
            runs=[],
            run_list_uid=str(uuid.uuid4()),
            **engine_facts(self._space),
        )

    def engine_moved(self, re_state: str) -> None:
        """The RunEngine has a new state; `idle` and `paused` are told when the main thread is free again."""
        if not self._turns.is_ours:
            self._moved_by_hand(re_state)
        elif self._state.state.attempt and re_state not in ("idle", "paused"):
            self._state.change(re_state=re_state)

    def engine_suspended(self, suspended: Suspended | None) -> None:
        """Suspenders hold the plan, or none does any more."""
        self._state.change(suspended=suspended)
        if self._progress:
            self._progress.suspend(suspended)

    def cells_ended(self) -> None:
        """No cell of the IPython kernel runs any more."""
        if self._end_by_hand:
            self._end_by_hand.cancel()
            self._ended_by_hand()

    async def run_plan(self, request: PlanRun) -> PlanAccepted:
        """Run an item, unless this attempt was seen before."""
        if seen := self._seen(request.attempt):
            return seen
        if request.must_be_known:
            raise NotFoundError("this attempt was not asked for before")
        self._state.require_idle("A plan can not be started")
        await self._turns.take()
        if seen := self._seen(request.attempt):  # asked for again meanwhile
            return seen
        self._state.require_idle("A plan can not be started")
        self._start(request)
        return PlanAccepted(outcome="started")

    async def show_plan(self, _request: Empty) -> PlanShown:
        """Say what runs."""
        attempt = self._attempt
        if attempt is None:
            return PlanShown()
        return PlanShown(attempt=attempt.uid, item=attempt.item, time_start=attempt.time_start)

    async def pause_plan(self, request: PlanPause) -> EngineAsked:
        """Ask the RunEngine to pause."""
        engine = self._engine or (self._space and self._space.engine)
        if engine is None or engine.state != "running":
            state = engine.state if engine else self._state.state.re_state
            raise WrongStateError(f"Run engine can be paused only in 'running' state. Current state: '{state}'")
        return await self._ask(engine.request_pause(defer=request.option == "deferred"))

    async def pause_now(self) -> None:
        """Pause the running plan, if it can be paused."""
        if self._engine is not None:
            with suppress(WrongStateError):
                await self._ask(self._engine.request_pause(defer=False))

    async def abort_plan(self, _request: Empty) -> EngineAsked:
        """End the plan, in whatever state it is."""
        if self._state.is_paused:
            await self.go_on("abort")
            return EngineAsked()
        if self._engine is None:
            raise WrongStateError(f"There is no plan to abort: the environment is '{self._state.state.phase}'")
        return await self._ask(self._engine.request_abort())

    async def continue_plan(self, request: PlanContinue) -> Nothing:
        """Go on with the paused plan, or end it."""
        await self.go_on(request.action)
        return Nothing()

    async def go_on(self, action: str) -> None:
        """Go on with the paused plan, or end it.

        Raises:
            WrongStateError: no plan is paused, or the IPython kernel runs a cell.
        """
        self._require_paused()
        await self._turns.take()
        self._require_paused()
        self._turns.begin()
        self._state.change(phase=EnvironmentPhase.EXECUTING_PLAN)
        self._executor.order(GoOn(action))

    async def get_state(self, _request: Empty) -> EnvironmentState:
        """Say what the environment is doing."""
        return self._state.state

    async def end(self, _request: Empty) -> Nothing:
        """Close the environment."""
        if self._state.state.phase != EnvironmentPhase.CLOSING:
            self._state.require_idle("The environment can not be closed")
            await self._turns.take()
            self._state.require_idle("The environment can not be closed")
            self._turns.begin()
            self._state.change(phase=EnvironmentPhase.CLOSING)
            self._life.close()
        return Nothing()

    async def get_catalog(self, request: CatalogPart) -> CatalogBytes:
        """Give a part of the catalogue."""
        if self._space is None:
            raise WrongStateError(f"There is no catalogue: the environment is '{self._state.state.phase}'")
        return self._space.offer.part(request.part)

    # --------------------------------------------------------------------------------------------------------------

    def _moved_by_hand(self, re_state: str) -> None:
        """Somebody runs or continues a plan in a console, which may be the one that was paused."""
        self._state.change(re_state=re_state)
        if self._attempt and re_state in ("idle", "panicked"):
            self._end_by_hand = asyncio.get_running_loop().call_later(CELL_PATIENCE, self._ended_by_hand)

    def _ended_by_hand(self) -> None:
        self._end_by_hand = None
        if self._attempt:
            self._executor.forget_plan()
            self.plan_ended(self._attempt.ended_by_hand())

    def _seen(self, attempt: str) -> PlanAccepted | None:
        if self._attempt and self._attempt.uid == attempt:
            return PlanAccepted(outcome="running")
        if report := self._ended.get(attempt):
            self._telling.report(report, again=True)
            return PlanAccepted(outcome="finished")
        return None

    def _require_paused(self) -> None:
        if not self._state.is_paused:
            state = self._state.state.re_state
            raise WrongStateError(f"Run Engine must be in 'paused' state to continue. The state is '{state}'")

    def _start(self, request: PlanRun) -> None:
        assert self._space
        space, engine = self._space, self._space.engine
        if engine is None:
            raise WrongStateError("A plan can not be started: the startup code has made no RunEngine ('RE')")
        if engine.state != "idle":
            raise WrongStateError(f"A plan can not be started: Run Engine is in '{engine.state}' state")
        attempt = Attempt(self._state.state.environment_id, request.attempt, request.item)
        self._attempt, self._engine = attempt, engine
        progress = self._progress = self._telling.progress_meter(attempt.item_uid)
        self._turns.begin()
        self._executor.order(
            RunPlan(
                attempt,
                engine,
                lambda: build_plan(attempt.item, space.namespace, space.offer.catalog),
                self._telling.document_sender(attempt, progress, self._runs_changed),
                progress.wait_for,
            )
        )
        self._state.change(phase=EnvironmentPhase.EXECUTING_PLAN, attempt=attempt.uid)

    async def _ask(self, request: Coroutine[Any, Any, None]) -> EngineAsked:
        """Ask the RunEngine for something; one that is stuck takes note later.

        Raises:
            WrongStateError: it refuses.
        """
        asking = asyncio.ensure_future(request)
        asking.add_done_callback(_answered)
        done, _ = await asyncio.wait({asking}, timeout=ENGINE_PATIENCE)
        if done and not asking.cancelled() and (error := asking.exception()):
            raise WrongStateError(reason(error)) from error
        return EngineAsked(is_heard=bool(done))

    def _runs_changed(self) -> None:
        if self._attempt and self._runs_settle is None:
            self._runs_settle = asyncio.get_running_loop().call_later(RUNS_SETTLE, self._tell_runs, self._attempt)

    def _tell_runs(self, attempt: Attempt) -> None:
        self._runs_settle = None
        self._state.change(**attempt.runs.told)


def _answered(asking: asyncio.Future[None]) -> None:
    if not asking.cancelled() and (error := asking.exception()):
        log.info("the RunEngine refuses", error=reason(error))


def engine_facts(space: Space) -> dict[str, Any]:
    """What the state says of the RunEngine of a namespace."""
    engine = space.engine
    return {"has_engine": engine is not None, "re_state": engine.state if engine else None}
