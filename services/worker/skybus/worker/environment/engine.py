"""The RunEngine of the startup code, made fit to run plans that may do anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bluesky import RunEngine

from skybus.bus.api.engine import Suspended
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


@dataclass
class _Call:
    """One plan that we run, while it runs or is paused."""

    on_document: OnDocument
    on_waiting: OnWaiting
    result: Any = None


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
        self.is_aborted = False
        """Whether somebody has asked for the end of the plan while it was not paused."""
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
        call = self._call = _Call(on_document, on_waiting)
        self.is_aborted = False
        try:
            self.run_engine(plan, **metadata)
        finally:
            if self.state == "idle":  # also if the RunEngine refused to begin
                self._call = None
        return call.result

    def go_on(self, action: str) -> Any:
        """Resume, stop, abort or halt the paused plan; otherwise as `run`.

        A plan that suspenders still hold waits for them again when it is resumed.
        """
        call = self._call
        if action == "resume" and self._suspension.is_pending:
            wait_first(self.run_engine, self._suspension.go_on)
        getattr(self.run_engine, action)()
        return call and call.result

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
            self.is_aborted = True
            await request_abort(self.run_engine)

    async def _have_done(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.run_engine.loop))

    # What follows implements `Observer`.

    def state_changed(self, state: str) -> None:
        """Pass the state on."""
        if state != "running":
            self._suspension.interrupt()
        self._watcher.engine_moved(state)

    def waits_for(self, statuses: Collection[Any] | None) -> None:
        """Pass on what our plan waits for."""
        if call := self._call:
            call.on_waiting(statuses)

    def emitted(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document of our plan; those of plans that consoles and tasks run are not ours."""
        if call := self._call:
            call.on_document(name, document)

    def plan_ended(self, result: Any) -> None:
        """Keep what the plan returned."""
        self._suspension.end()
        if self._call:
            self._call.result, self._call = result, None

    def held(self, suspender: Any, justification: str | None, wait: Wait) -> Wait:
        """Follow what holds the plan."""
        return partial(self._hold, self._suspension.hold(suspender, justification, wait))

    def _hold(self, wait: Wait) -> Any:
        """Begin to wait. A pending deferred pause takes effect now."""
        waiting = wait()
        if self._call and self.is_pause_pending:
            self._pausing = self.run_engine.loop.create_task(self._pause(defer=False))
        return waiting
