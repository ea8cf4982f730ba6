"""Everything that skybus uses of bluesky beyond its public interface; no other module touches a private name of it.

A RunEngine belongs to the startup code: its hooks, lists, subscriptions and metadata are what plans print, clear and
replace, and its class is theirs, too. So skybus puts nothing there. It wraps a few methods of bluesky's own classes,
beneath all of these. They report to the observer of a RunEngine, and do nothing more for one without (decision 17).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial, wraps
from typing import Any, Protocol, cast

import structlog
from bluesky import RunEngine
from bluesky.run_engine import Dispatcher, LoggingPropertyMachine, _ensure_event_loop_running
from bluesky.utils import Msg, SigintHandler, single_gen

from skybus.bus.tracebacks import text_of
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

    def plan_ended(self, result: Any, error: BaseException | None) -> None:
        """The plan has returned something, or this error has left it."""

    def held(self, suspender: Any, justification: str | None, wait: Wait) -> Wait:
        """Return what the RunEngine waits for instead of `wait`; without a suspender, user code holds the plan."""
        ...


def observe(run_engine: RunEngine, observer: Observer) -> None:
    """Report to this observer, and to no other from now on, what a RunEngine does."""
    asks_as_bluesky_does = run_engine._command_registry.get("input") == RunEngine._input.__get__(run_engine)
    _wrap_bluesky()
    _watched[id(run_engine)] = _Watched(run_engine, observer)
    if asks_as_bluesky_does:
        run_engine._command_registry["input"] = run_engine._input


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


@dataclass(eq=False)
class _Watched:
    """A RunEngine that is observed."""

    run_engine: RunEngine
    observer: Observer
    is_entering: bool = False
    """Whether it is about to enter its context managers."""


_watched: dict[int, _Watched] = {}
"""By `id`, as a site's class may make its objects unhashable; an entry lives as long as the process."""

_HARMLESS = (Exception, GeneratorExit, asyncio.CancelledError)
"""What a plan may raise: anything else would end the thread of the RunEngine."""

Original = Callable[..., Any]


@cache
def _wrap_bluesky() -> None:
    """Wrap the methods of bluesky that tell what happens; once in a process."""
    _wrap_state()
    _wrap(RunEngine, "_run", _run)
    _wrap(RunEngine, "_resume_task", _resume_task)
    _wrap(RunEngine, "_call_waiting_hook", _call_waiting_hook)
    _wrap(RunEngine, "_input", _input)
    _wrap(RunEngine, "request_suspend", _request_suspend)
    _wrap(RunEngine, "emit_sync", _emit_sync)
    _wrap_dispatcher()
    setattr(RunEngine, "context_managers", property(_context_managers, _set_context_managers))  # noqa: B010


def _wrap(owner: type, name: str, replacement: Callable[..., Any]) -> None:
    """Call something else instead of a method, for RunEngines that are observed."""
    original = getattr(owner, name)

    @wraps(original)
    def method(run_engine: Any, *args: Any, **kwargs: Any) -> Any:
        watched = _watched.get(id(run_engine))
        if watched is None:
            return original(run_engine, *args, **kwargs)
        return replacement(partial(original, run_engine), watched, *args, **kwargs)

    setattr(owner, name, method)


def _wrap_dispatcher() -> None:
    """Report what a dispatcher is about to pass to its subscribers, if a RunEngine that is observed has it."""
    original = Dispatcher.process

    @wraps(original)
    def process(dispatcher: Dispatcher, name: Any, doc: Any) -> None:
        for watched in list(_watched.values()):
            if getattr(watched.run_engine, "dispatcher", None) is dispatcher:
                _report(watched, name, doc)
        original(dispatcher, name, doc)

    setattr(Dispatcher, "process", process)  # noqa: B010


def _emit_sync(original: Original, watched: _Watched, name: Any, doc: Any) -> None:
    if not isinstance(watched.run_engine.dispatcher, Dispatcher):  # one of user code, in its place
        _report(watched, name, doc)
    original(name, doc)


def _report(watched: _Watched, name: Any, doc: Any) -> None:
    watched.observer.emitted(str(getattr(name, "name", name)), doc)


def _wrap_state() -> None:
    """Report each change of a state; all RunEngines share the descriptor that holds theirs."""
    original = LoggingPropertyMachine.__set__

    @wraps(original)
    def set_state(descriptor: Any, run_engine: Any, value: Any) -> None:
        watched = _watched.get(id(run_engine))
        if watched is None:
            return original(descriptor, run_engine, value)
        before = str(run_engine._state)
        try:
            original(descriptor, run_engine, value)
        finally:  # a hook of the startup code may raise
            if (now := str(run_engine._state)) != before:
                watched.observer.state_changed(now)

    setattr(LoggingPropertyMachine, "__set__", set_state)  # noqa: B010


async def _run(original: Original, watched: _Watched) -> Any:
    """Run the plan; SystemExit and its like would end the thread of the RunEngine."""
    run_engine = watched.run_engine
    errors: list[BaseException] = []
    run_engine._plan_stack[0] = _without_exit(run_engine._plan_stack[0], errors.append)
    _hold_from_the_start(watched)
    result = run_engine.NO_PLAN_RETURN
    try:
        result = await original()
        return result
    except _HARMLESS as error:
        errors.append(error)
        if _is_raised_while_handling(error, errors[0]):
            raise _with_note(errors[0], error) from errors[0].__cause__
        raise
    except BaseException as error:
        errors.append(error)
        raise _exit_error(error) from error
    finally:
        if result is run_engine.NO_PLAN_RETURN:
            watched.observer.plan_ended(None, errors[0] if errors else None)
        else:
            watched.observer.plan_ended(result, None)


def _hold_from_the_start(watched: _Watched) -> None:
    """Observe the suspenders that tripped before the plan: the RunEngine has put the wait for them on top of it."""
    stack = watched.run_engine._plan_stack
    if len(stack) > 1:
        messages = [
            msg._replace(args=([_held(watched, wait, None) for wait in msg.args[0]],)) if _is_wait(msg) else msg
            for msg in stack[1]
        ]
        stack[1] = (message for message in messages)


def _request_suspend(original: Original, watched: _Watched, fut: Any, **options: Any) -> None:
    original(_held(watched, fut, options.get("justification")), **options)


def _held(watched: _Watched, wait: Any, justification: str | None) -> Any:
    if not callable(wait):  # a mistake of the caller, which the RunEngine reports
        return wait
    event = getattr(wait, "__self__", None)
    suspenders = watched.run_engine.suspenders
    tripped = (s for s in suspenders if event is not None and getattr(s, "_ev", None) is event)
    return watched.observer.held(next(tripped, None), justification, cast(Wait, wait))


def _call_waiting_hook(original: Original, watched: _Watched, *args: Any, **kwargs: Any) -> None:
    watched.observer.waits_for(*args, **kwargs)
    original(*args, **kwargs)


async def _input(original: Original, watched: _Watched, msg: Msg) -> Any:
    if not nobody_answers():
        return await original(msg)
    loop = watched.run_engine.loop
    return await loop.run_in_executor(None, input, msg.kwargs.get("prompt", ""))  # a cell has its own `input`


def _resume_task(original: Original, watched: _Watched, **options: Any) -> Any:
    watched.is_entering = True
    return original(**options)


def _context_managers(run_engine: RunEngine) -> Any:
    """The list of the startup code; only the RunEngine itself does not see the manager that pauses on Ctrl-C."""
    if "context_managers" not in vars(run_engine):
        raise AttributeError("context_managers")
    managers = vars(run_engine)["context_managers"]
    watched = _watched.get(id(run_engine))
    if watched is None or not watched.is_entering:
        return managers
    watched.is_entering = False
    if watched.observer.takes_interrupts:
        return managers
    return [manager for manager in managers if manager is not SigintHandler]


def _set_context_managers(run_engine: RunEngine, managers: Any) -> None:
    vars(run_engine)["context_managers"] = managers


def _is_wait(message: Msg) -> bool:
    return message.command == "wait_for" and bool(message.args)


def _without_exit(plan: Plan, note: Callable[[BaseException], None]) -> Plan:
    """Turn SystemExit and its like into an error of the plan, and end a forked child that would go on with it.

    The error that leaves the plan is noted, since the RunEngine swallows some.
    """
    try:
        return (yield from PlanOfThisProcess(plan))
    except _HARMLESS as error:
        note(error)
        raise
    except BaseException as error:
        raise _exit_error(error) from error


def _is_raised_while_handling(error: BaseException, first: BaseException) -> bool:
    """Whether an error has come up in the handling of another, and was not raised on purpose in its place."""
    while error is not first and error.__cause__ is None and error.__context__ is not None:
        error = error.__context__
        if error is first:
            return True
    return False


def _with_note(error: BaseException, later: BaseException) -> BaseException:
    """Return the error of a plan; it counts more than one that the RunEngine raises when it logs or files the first."""
    with suppress(Exception):  # the error is of a class of user code
        error.add_note(f"The RunEngine has raised {type(later).__name__} then: {text_of(later)}")
    return error


def _exit_error(error: BaseException) -> PlanExitError:
    return PlanExitError(f"the plan has raised {type(error).__name__}({text_of(error)})")
