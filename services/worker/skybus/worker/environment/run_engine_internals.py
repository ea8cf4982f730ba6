"""Everything that skybus uses of bluesky beyond its public interface; no other module touches a private name of it.

A RunEngine belongs to the startup code: its hooks, lists, subscriptions and metadata are what plans print, clear and
replace. So skybus puts nothing there. The object gets a subclass of its own class, made for it alone, which reports to
an observer what happens beneath all of these (decision 17).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextvars import ContextVar
from types import new_class
from typing import Any, ClassVar, Protocol, cast

import structlog
from bluesky import RunEngine
from bluesky.run_engine import _ensure_event_loop_running
from bluesky.utils import Msg, SigintHandler, single_gen

from skybus.worker.environment.keyboard import nobody_answers
from skybus.worker.environment.own_process import PlanOfThisProcess

log = structlog.get_logger()

Plan = Generator[Any, Any, Any]
Wait = Callable[[], Awaitable[Any]]
"""Begins to wait for something that keeps a plan from going on; may be called more than once."""

PRIVATE = (
    "_state",
    "_run",
    "_resume_task",
    "_plan_stack",
    "_response_stack",
    "_call_waiting_hook",
    "_command_registry",
    "_input",
    "_request_pause_coro",
    "_abort_coro",
    "_th",
)
"""Private names of a RunEngine that are used here; a test fails if a release of bluesky lacks one."""


class PlanExitError(Exception):
    """A plan has tried to end the process."""


class Observer(Protocol):
    """Follows a RunEngine; called in the thread that causes the event, most often that of the RunEngine."""

    takes_interrupts: bool
    """Whether Ctrl-C pauses a plan, by the RunEngine's own context manager."""

    def state_changed(self, state: str) -> None:
        """The RunEngine has a new state."""

    def waits_for(self, statuses: Collection[Any] | None) -> None:
        """The plan waits for these status objects, or for nothing any more."""

    def emitted(self, name: str, document: Mapping[str, Any]) -> None:
        """The RunEngine is about to pass a document to its subscribers."""

    def plan_ended(self, result: Any) -> None:
        """The plan returned this, or nothing if it ended in another way."""

    def held(self, suspender: Any, justification: str | None, wait: Wait) -> Wait:
        """Return what the RunEngine waits for instead of `wait`; without a suspender, user code holds the plan."""
        ...


def observe(run_engine: RunEngine, observer: Observer) -> None:
    """Report to this observer, and to no other from now on, what a RunEngine does."""
    kind = type(run_engine)
    if not issubclass(kind, _Observed):
        has_own_input = run_engine._command_registry.get("input") != RunEngine._input.__get__(run_engine)
        run_engine.__class__ = kind = _observed(kind)
        if not has_own_input:
            run_engine._command_registry["input"] = run_engine._input
    cast("type[_Observed]", kind)._skybus_observer = observer


async def request_pause(run_engine: RunEngine, *, defer: bool) -> None:
    """Ask for a pause; called in the loop of the RunEngine."""
    await run_engine._request_pause_coro(defer)


async def request_abort(run_engine: RunEngine) -> None:
    """Ask for the end of the plan; called in the loop of the RunEngine."""
    await run_engine._abort_coro("")


def wait_first(run_engine: RunEngine, wait: Wait) -> None:
    """Make a paused plan that is about to resume wait for something first."""
    run_engine._plan_stack.append(single_gen(Msg("wait_for", None, [wait])))
    run_engine._response_stack.append(None)


def signal_of(suspender: Any) -> Any:
    """The signal that a suspender watches, if it is one of bluesky's."""
    return getattr(suspender, "_sig", None)


def keep_loop_running(run_engine: RunEngine) -> None:
    """Start the RunEngine's loop again whenever a callback has ended its thread with SystemExit; never returns."""
    while (thread := getattr(run_engine, "_th", None)) is not None:
        cast(threading.Thread, thread).join()
        if run_engine.loop.is_closed():
            return
        log.error("the thread of the RunEngine has ended; it is started again")
        run_engine._th = _ensure_event_loop_running(run_engine.loop)


class _Observed(RunEngine):
    """The class of a RunEngine that is observed, before that of the startup code."""

    _skybus_observer: ClassVar[Observer]
    _skybus_is_entering: ClassVar[bool] = False
    """Whether the RunEngine is about to enter its context managers."""

    @property
    def _state(self) -> Any:
        return super()._state

    @_state.setter
    def _state(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        before = str(self._state)
        try:
            _STATE.__set__(self, value)
        finally:  # a hook of the startup code may raise
            if (now := str(self._state)) != before:
                self._skybus_observer.state_changed(now)

    async def _run(self) -> Any:
        """Run the plan; SystemExit and its like would end the thread of the RunEngine."""
        self._plan_stack[0] = _without_exit(self._plan_stack[0])
        self._hold_from_the_start()
        result = None
        try:
            result = await super()._run()
            return result
        except _HARMLESS:
            raise
        except BaseException as error:
            raise _exit_error(error) from error
        finally:
            self._skybus_observer.plan_ended(None if result is self.NO_PLAN_RETURN else result)

    def _hold_from_the_start(self) -> None:
        """Observe the suspenders that tripped before the plan: the RunEngine has put the wait for them on top of it."""
        if len(self._plan_stack) > 1:
            messages = [
                msg._replace(args=([self._held(wait, None) for wait in msg.args[0]],)) if _is_wait(msg) else msg
                for msg in self._plan_stack[1]
            ]
            self._plan_stack[1] = (message for message in messages)

    def request_suspend(self, fut: Any, **options: Any) -> None:
        super().request_suspend(self._held(fut, options.get("justification")), **options)

    def _held(self, wait: Any, justification: str | None) -> Any:
        if not callable(wait):  # a mistake of the caller, which the RunEngine reports
            return wait
        event = getattr(wait, "__self__", None)
        tripped = (s for s in self.suspenders if event is not None and getattr(s, "_ev", None) is event)
        return self._skybus_observer.held(next(tripped, None), justification, cast(Wait, wait))

    def _call_waiting_hook(self, *args: Any, **kwargs: Any) -> None:
        self._skybus_observer.waits_for(*args, **kwargs)
        super()._call_waiting_hook(*args, **kwargs)

    async def emit(self, name: Any, doc: Any) -> None:
        """Report a document as a subclass passes it to `emit_sync`, or else as it came."""
        emission = _Emission()
        outer = _EMISSION.set(emission)
        try:
            await super().emit(name, doc)
        finally:
            _EMISSION.reset(outer)
            if not emission.is_reported:
                self._report(name, doc)

    def emit_sync(self, name: Any, doc: Any) -> None:
        if emission := _EMISSION.get():
            emission.is_reported = True
        self._report(name, doc)
        super().emit_sync(name, doc)

    def _report(self, name: Any, doc: Any) -> None:
        self._skybus_observer.emitted(str(getattr(name, "name", name)), doc)

    async def _input(self, msg: Msg) -> Any:
        if not nobody_answers():
            return await super()._input(msg)
        return await self.loop.run_in_executor(None, input, msg.kwargs.get("prompt", ""))  # a cell has its own `input`

    _input.__doc__ = RunEngine._input.__doc__  # which `RE.print_command_registry` shows

    def _resume_task(self, **options: Any) -> Any:
        type(self)._skybus_is_entering = True
        return super()._resume_task(**options)

    @property
    def context_managers(self) -> Any:
        """The list of the startup code; only the RunEngine itself does not see the manager that pauses on Ctrl-C."""
        managers = vars(self)["context_managers"]
        if not self._skybus_is_entering:
            return managers
        type(self)._skybus_is_entering = False
        if self._skybus_observer.takes_interrupts:
            return managers
        return [manager for manager in managers if manager is not SigintHandler]

    @context_managers.setter
    def context_managers(self, managers: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        vars(self)["context_managers"] = managers


class _Emission:
    """One document on its way."""

    is_reported = False


_EMISSION: ContextVar[_Emission | None] = ContextVar("emission", default=None)
_HARMLESS = (Exception, GeneratorExit, asyncio.CancelledError)
"""What a plan may raise: anything else would end the thread of the RunEngine."""
_STATE: Any = RunEngine._state
"""The descriptor that holds the state of all RunEngines."""


def _observed(kind: type[RunEngine]) -> type[RunEngine]:
    """Make a class for one RunEngine that looks like its own."""
    looks = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return new_class(kind.__name__, (_Observed, kind), {}, lambda namespace: namespace.update(looks))


def _is_wait(message: Msg) -> bool:
    return message.command == "wait_for" and bool(message.args)


def _without_exit(plan: Plan) -> Plan:
    """Turn SystemExit and its like into an error of the plan, and end a forked child that would go on with it."""
    try:
        return (yield from PlanOfThisProcess(plan))
    except _HARMLESS:
        raise
    except BaseException as error:
        raise _exit_error(error) from error


def _exit_error(error: BaseException) -> PlanExitError:
    return PlanExitError(f"the plan has raised {type(error).__name__}({error})")
