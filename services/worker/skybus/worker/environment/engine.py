"""The RunEngine of the startup code, made fit to run plans that may do anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from bluesky import RunEngine
from bluesky.utils import FailedPause, PlanHalt, RequestAbort, RequestStop, RunEngineInterrupted

from skybus.bus.api.engine import Suspended
from skybus.worker.environment.plan_call import NotAPlanError
from skybus.worker.environment.run_engine_internals import (
    Plan,
    Wait,
    keep_loop_running,
    observe,
    request_abort,
    request_pause,
    wait_first,
)
from skybus.worker.environment.suspension import Suspension

OnDocument = Callable[[str, Mapping[str, Any]], None]
OnWaiting = Callable[[Collection[Any] | None], None]


class EngineWatcher:
    """Receives what a RunEngine does, also when a console runs the plan; called in the thread of the RunEngine."""

    def engine_moved(self, state: str) -> None:
        """The RunEngine has a new state."""

    def engine_suspended(self, suspended: Suspended | None) -> None:
        """Suspenders begin to hold the plan, or the last one lets go."""


Ending = Literal["stop", "abort", "halt"]

_ENDINGS: dict[str, Ending] = {"stopping": "stop", "aborting": "abort", "halting": "halt"}
"""State of a RunEngine that ends a plan → what it was told to do."""
_ENDING_ERRORS: dict[type[BaseException], Ending] = {RequestStop: "stop", RequestAbort: "abort", PlanHalt: "halt"}
"""Error by which a RunEngine ends a plan → what it was told to do; a plan may raise it itself."""


class PlanEndedEarlyError(Exception):
    """The plan was stopped, aborted or halted before its end, and has not failed.

    Args:
        ending: which of these.
        by_user_code: whether nobody has asked skybus for it.
    """

    def __init__(self, ending: Ending, *, by_user_code: bool) -> None:
        super().__init__(ending)
        self.ending: Ending = ending
        self.by_user_code = by_user_code


@dataclass
class _Call:
    """A call of the RunEngine for us, until no plan is left paused; a subclass may run several plans in one call."""

    on_document: OnDocument
    on_waiting: OnWaiting
    is_in_progress: bool = False
    """Whether the RunEngine has not returned yet."""
    result: Any = None
    error: BaseException | None = None
    """What has left the plan that ended last."""
    has_run_a_plan: bool = False
    """Whether a plan has ended in it."""
    ending: Ending | None = None
    """How the RunEngine was told to end the plan while it ran."""


class Engine:
    """A RunEngine.

    Args:
        run_engine: made by the startup code.
        by_hand: others run plans with it too, and may pause with Ctrl-C.
    """

    def __init__(self, run_engine: RunEngine, watcher: EngineWatcher, *, by_hand: bool = False) -> None:
        self.run_engine = run_engine
        self._watcher = watcher
        self._suspension = Suspension(watcher.engine_suspended)
        self._call: _Call | None = None
        self.takes_interrupts = by_hand
        self._is_asked_to_abort = False
        """Whether somebody has asked us for the end of the plan while it was not paused."""
        observe(run_engine, self)
        threading.Thread(target=keep_loop_running, args=(run_engine,), name="engine guard", daemon=True).start()

    @property
    def state(self) -> str:
        """In the words of the RunEngine."""
        return str(self.run_engine.state)

    @property
    def is_pause_pending(self) -> bool:
        """Whether a pause is to come at the next checkpoint."""
        return bool(getattr(self.run_engine, "deferred_pause_requested", False))

    def run(
        self, make_plan: Callable[[], Plan], metadata: Mapping[str, Any], on_document: OnDocument, on_waiting: OnWaiting
    ) -> Any:
        """Run a plan to its end, and return what it returned.

        Args:
            make_plan: calls user code, which may run plans with this RunEngine itself; their documents are ours too.
            metadata: for each of its runs.
            on_document: told of each document, in the thread of the RunEngine.
            on_waiting: told there of the status objects that the plan waits for, and of nothing when they are done.

        Raises:
            PlanEndedEarlyError: it was stopped, aborted or halted.
            BaseException: what the plan has raised, or RunEngineInterrupted if it is paused.
        """
        call = self._call = _Call(on_document, on_waiting)
        with self._in_progress(call):
            self.run_engine(self._made(make_plan, call), **metadata)
        return self._result_of(call)

    def go_on(self, action: str) -> Any:
        """Resume, stop, abort or halt the paused plan; otherwise as `run`.

        A plan that suspenders still hold waits for them again when it is resumed.
        """
        if action == "resume" and self._suspension.is_pending:
            wait_first(self.run_engine, self._suspension.go_on)
        go_on = getattr(self.run_engine, action)
        if (call := self._call) is None:  # the plan is none of ours any more
            go_on()
            return None
        with self._in_progress(call):
            go_on()
        return self._result_of(call) if action == "resume" else call.result

    def _made(self, make_plan: Callable[[], Plan], call: _Call) -> Plan:
        try:
            return make_plan()
        except NotAPlanError as error:
            if not call.has_run_a_plan:
                raise
            raise NotAPlanError(f"{error}. It has run a plan with RE itself: use 'yield from' instead of RE") from error

    @contextmanager
    def _in_progress(self, call: _Call) -> Iterator[None]:
        """Surround a call of the RunEngine that ends when the plan ends or is paused."""
        self._is_asked_to_abort = False
        call.is_in_progress, call.ending = True, None
        try:
            yield
        except RunEngineInterrupted as interrupted:
            if self.state == "paused":
                raise
            raise self._why_interrupted(call, interrupted) from interrupted
        finally:
            call.is_in_progress = False
            if self.state == "idle":  # also if the RunEngine refused to begin
                self._call = None

    def _why_interrupted(self, call: _Call, interrupted: RunEngineInterrupted) -> BaseException:
        if isinstance(call.error, FailedPause):
            return call.error
        if call.ending:
            return PlanEndedEarlyError(call.ending, by_user_code=not self._is_asked_to_abort)
        return interrupted

    def _result_of(self, call: _Call) -> Any:
        """Return the result; the RunEngine returns as if all was well also after some errors that a plan raises."""
        if isinstance(call.error, asyncio.CancelledError | FailedPause):
            raise call.error
        for kind, ending in _ENDING_ERRORS.items():
            if isinstance(call.error, kind):
                raise PlanEndedEarlyError(ending, by_user_code=True)
        return call.result

    async def request_pause(self, *, defer: bool) -> None:
        """Ask for a pause; returns when the RunEngine has taken note.

        A suspended plan comes to no checkpoint, so it is paused at once.
        `RunEngine.request_pause` would hold a thread for as long as the RunEngine's loop is stuck.
        """
        await self._have_done(self._pause(defer=defer))

    async def request_abort(self) -> None:
        """Ask for the end of a plan that is not paused; otherwise as `request_pause`."""
        await self._have_done(self._abort_unless_paused())

    async def _pause(self, *, defer: bool) -> None:
        await request_pause(self.run_engine, defer=defer and not self._suspension.is_waiting)

    async def _abort_unless_paused(self) -> None:
        if self.state != "paused":  # a paused one ends in the main thread only
            self._is_asked_to_abort = True
            await request_abort(self.run_engine)

    async def _have_done(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.run_engine.loop))

    # What follows implements `Observer`.

    def state_changed(self, state: str) -> None:
        """Pass the state on."""
        if state != "running":
            self._suspension.interrupt()
        if self._call and state in _ENDINGS:
            self._call.ending = _ENDINGS[state]
        self._watcher.engine_moved(state)

    def waits_for(self, statuses: Collection[Any] | None) -> None:
        """Pass on what our plan waits for."""
        if call := self._call:
            call.on_waiting(statuses)

    def emitted(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document of our plan; those of plans that consoles and tasks run are not ours."""
        if call := self._call:
            call.on_document(name, document)

    def plan_ended(self, result: Any, error: BaseException | None) -> None:
        """Keep what the plan returned or raised. A paused plan of ours that others have ended is no longer ours."""
        self._suspension.end()
        call = self._call
        if call is None:
            return
        if not call.is_in_progress:
            self._call = None
        if result is not None:  # of several plans, such as one that cleans up, the last that returns something
            call.result = result
        call.error, call.has_run_a_plan = error, True

    def held(self, suspender: Any, justification: str | None, wait: Wait) -> Wait:
        """Follow what holds the plan."""
        return partial(self._hold, self._suspension.hold(suspender, justification, wait))

    def _hold(self, wait: Wait) -> Any:
        """Begin to wait. A pending deferred pause takes effect now."""
        waiting = wait()
        if self._call and self.is_pause_pending:
            self._pausing = self.run_engine.loop.create_task(self._pause(defer=False))
        return waiting
