"""The RunEngine of the startup code, made fit to run plans that may do anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping
from typing import Any

import structlog
from bluesky.run_engine import _ensure_event_loop_running
from bluesky.utils import SigintHandler

from skybus.worker.environment.own_process import PlanOfThisProcess

log = structlog.get_logger()

OnState = Callable[[str], None]
OnDocument = Callable[[str, Mapping[str, Any]], None]
OnWaiting = Callable[[Collection[Any] | None], None]
Plan = Generator[Any, Any, Any]


class PlanExitError(Exception):
    """A plan has tried to end the process."""


class Engine:
    """A RunEngine.

    Args:
        run_engine: made by the startup code.
        on_state: told of each new state, in the thread of the RunEngine.
        by_hand: others run plans with it too, and may pause with Ctrl-C.
    """

    def __init__(self, run_engine: Any, on_state: OnState, *, by_hand: bool = False) -> None:
        self.run_engine = run_engine
        self._on_state = on_state
        self._result: Any = None
        self._on_waiting: OnWaiting = lambda _: None
        self.is_aborted = False
        """Whether somebody has asked for the end of the plan while it was not paused."""
        if by_hand:
            self._watch()
        else:
            _ignore_interrupts(run_engine)
        threading.Thread(target=self._keep_loop_running, name="engine guard", daemon=True).start()

    @property
    def state(self) -> str:
        """In the words of the RunEngine."""
        return str(self.run_engine.state)

    @property
    def is_pause_pending(self) -> bool:
        """Whether a pause is to come at the next checkpoint."""
        return bool(getattr(self.run_engine, "deferred_pause_requested", False))

    def run(self, plan: Plan, metadata: Mapping[str, Any], on_document: OnDocument, on_waiting: OnWaiting) -> Any:
        """Run a plan to its end, and return what it returned.

        Args:
            plan: the plan.
            metadata: for each of its runs.
            on_document: told of each document, in the thread of the RunEngine.
            on_waiting: told there of the status objects that the plan waits for, and of nothing when they are done.

        Raises:
            BaseException: what the plan has raised, or RunEngineInterrupted if it is paused.
        """
        self._result = None
        self.is_aborted = False
        self._on_waiting = on_waiting
        self._watch()
        self.run_engine.preprocessors.append(self._guard)
        try:
            self.run_engine(plan, {"all": [on_document]}, **metadata)
        finally:
            self.run_engine.preprocessors.remove(self._guard)
        return self._result

    def go_on(self, action: str) -> Any:
        """Resume, stop, abort or halt the paused plan; otherwise as `run`."""
        self._watch()
        getattr(self.run_engine, action)()
        return self._result

    async def request_pause(self, *, defer: bool) -> None:
        """Ask for a pause; returns when the RunEngine has taken note.

        `RunEngine.request_pause` would hold a thread for as long as the RunEngine's loop is stuck.
        """
        await self._have_done(self.run_engine._request_pause_coro(defer))

    async def request_abort(self) -> None:
        """Ask for the end of a plan that is not paused; otherwise as `request_pause`."""
        await self._have_done(self._abort_unless_paused())

    async def _abort_unless_paused(self) -> None:
        if self.state != "paused":  # a paused one ends in the main thread only
            self.is_aborted = True
            await self.run_engine._abort_coro("")

    async def _have_done(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.run_engine.loop))

    def _guard(self, plan: Plan) -> Plan:
        """Keep what the plan returns; SystemExit and its like would end the thread of the RunEngine."""
        try:
            self._result = yield from PlanOfThisProcess(plan)
        except (Exception, GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise PlanExitError(f"the plan has raised {type(error).__name__}({error})") from error

    def _watch(self) -> None:
        """Follow the states, and what the plan waits for, whoever else does, such as a progress bar."""
        _hear(self.run_engine, "state_hook", lambda new, _: self._on_state(str(new)))
        _hear(self.run_engine, "waiting_hook", lambda statuses: self._on_waiting(statuses))

    def _keep_loop_running(self) -> None:
        """Start the RunEngine's loop again when a device or a callback has ended its thread with SystemExit."""
        while (thread := getattr(self.run_engine, "_th", None)) is not None:
            thread.join()
            if self.run_engine.loop.is_closed():
                return
            log.error("the thread of the RunEngine has ended; it is started again")
            self.run_engine._th = _ensure_event_loop_running(self.run_engine.loop)


def _hear(run_engine: Any, hook: str, tell: Callable[..., None]) -> None:
    """Hang a function into a hook of the RunEngine, which has room for one, before the one that is there."""
    others = getattr(run_engine, hook)
    if getattr(others, "is_ours", False):
        return

    def hear(*news: Any) -> None:
        tell(*news)
        if others is not None:
            others(*news)

    hear.is_ours = True  # type: ignore[attr-defined]
    setattr(run_engine, hook, hear)


def _ignore_interrupts(run_engine: Any) -> None:
    """Take away the RunEngine's handling of Ctrl-C: it would pause a plan behind our back."""
    run_engine.context_managers = [manager for manager in run_engine.context_managers if manager is not SigintHandler]
