"""The life of the environment, as far as it is asked for and known here: open, close, destroy, gone."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog

from skybus.bus.api.events import EnvironmentChanged
from skybus.bus.api.internal import (
    ENVIRONMENT_END,
    WORKER_DESTROY,
    WORKER_OPEN,
    EnvironmentDestroy,
    EnvironmentExited,
    EnvironmentOpen,
    EnvironmentOpened,
    EnvironmentPhase,
    EnvironmentState,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, UnavailableError, WrongStateError
from skybus.bus.messages import Empty
from skybus.queue.announcer import Announcer
from skybus.queue.book import Book
from skybus.queue.keeper import Keeper
from skybus.queue.once import current_key
from skybus.queue.records import new_uid
from skybus.queue.situation import Situation
from skybus.queue.states import Event, State

log = structlog.get_logger()

_EXISTS_NOT = "RE Worker environment does not exist."
_OCCUPIED = {
    State.CLOSING_ENVIRONMENT: "Manager is already in the process of closing the RE Worker environment.",
    State.STARTING_QUEUE: "Queue execution is in progress.",
    State.EXECUTING_QUEUE: "Queue execution is in progress.",
    State.PAUSED: "Queue execution is in progress.",
    State.EXECUTING_TASK: "Foreground task execution is in progress.",
}
"""Why the environment cannot be closed, by the state of the manager."""


LONGEST_START = 30.0
"""Seconds that the worker has to start a process; it may first look whether another Python can run it."""


class Environments:
    """Has the worker open and end environments.

    Args:
        in_doubt: the worker must be asked what there is.
    """

    def __init__(
        self, keeper: Keeper, bus: Bus, situation: Situation, announcer: Announcer, in_doubt: Callable[[], None]
    ) -> None:
        self._keeper = keeper
        self._bus = bus
        self._now = situation
        self._announcer = announcer
        self._in_doubt = in_doubt
        self._opening_failed: EnvironmentOpened | None = None
        self._last_gone = ""

    async def open(self) -> None:
        """Begin to open an environment."""
        environment_id = _id_for(current_key())
        await self._keeper.do(lambda: self._begin_opening(environment_id))
        try:
            await self._bus.call(WORKER_OPEN, EnvironmentOpen(environment_id=environment_id), timeout=LONGEST_START)
        except SkybusError as error:
            await self._keeper.do(lambda: self._give_up(environment_id))
            if isinstance(error, UnavailableError):
                self._in_doubt()  # the worker may have begun all the same
            raise

    async def close(self) -> None:
        """Begin to close the environment, which must be idle."""
        await self._keeper.do(self._begin_closing)
        try:
            await self._bus.call(ENVIRONMENT_END, Empty())
        except SkybusError:
            await self._keeper.do(self._stay_open)
            raise

    async def destroy(self, reason: str = "") -> None:
        """Kill the environment, whatever it does; `reason` is for the failure message of what runs in it."""
        environment_id = await self._keeper.do(self._find)
        await self._bus.call(WORKER_DESTROY, EnvironmentDestroy(environment_id=environment_id, reason=reason))
        await self._keeper.do(lambda: self._being_destroyed(environment_id))

    # What follows is done inside the keeper's turn.

    def opened(self, report: EnvironmentOpened) -> None:
        """Take note that an environment takes plans, or that its startup code has failed."""
        if report.environment_id != self._now.environment_id or self._now.is_open:
            return
        if not report.success:
            self._opening_failed = report  # the environment ends now; its exit closes the matter
            log.error("the environment could not be opened", reason=report.msg)
            return
        self._now.is_open = True
        if self._now.state == State.CREATING_ENVIRONMENT:
            self._now.go(Event.OPENED)
        self._announcer.environment(EnvironmentChanged(state="opened", facts=report.facts))

    def exited(self, report: EnvironmentExited) -> None:
        """Take note that an environment is gone."""
        self._last_gone = report.environment_id
        if report.environment_id != self._now.environment_id:
            return
        failed, self._opening_failed = self._opening_failed, None
        self._now.forget()
        if failed:
            event = EnvironmentChanged(state="failed", msg=failed.msg, traceback=failed.traceback)
        else:
            last_words = "" if report.requested else report.output_tail
            event = EnvironmentChanged(state="closed", msg=report.msg, traceback=last_words)
        self._announcer.environment(event)

    def is_gone(self, environment: EnvironmentState) -> bool:
        """Whether what an environment has said of itself was said before the end of which we know."""
        return environment.environment_id == self._last_gone

    def adopt(self, environment: EnvironmentState, book: Book) -> None:
        """Take up an environment that lives since before our start."""
        self._now.environment_id = environment.environment_id
        self._now.is_open = environment.phase not in (EnvironmentPhase.INITIALIZING, EnvironmentPhase.FAILED)
        self._now.go(_work_in(environment, book) if self._now.is_open else Event.OPEN)
        log.info("environment found", environment_id=environment.environment_id, phase=environment.phase)

    def catch_up(self, environment: EnvironmentState, book: Book) -> None:
        """Be where the book is: something may have begun of which nobody could be sure."""
        if self._now.state == State.IDLE:
            work = _work_in(environment, book)
            for event in {Event.RUN: (Event.START, Event.RUN), Event.TASK: (Event.TASK,)}.get(work, ()):
                self._now.go(event)

    async def _begin_opening(self, environment_id: str) -> None:
        if self._now.environment_id is not None:
            raise WrongStateError(
                "RE Worker environment already exists."
                if self._now.is_open
                else "Manager is already in the process of creating the RE Worker environment."
            )
        if self._now.state != State.IDLE:
            raise WrongStateError(f"Manager state is not idle. Current state: {self._now.state}")
        self._now.environment_id = environment_id
        self._opening_failed = None
        self._now.go(Event.OPEN)

    async def _give_up(self, environment_id: str) -> None:
        if self._now.environment_id == environment_id and not self._now.is_open:
            self._now.environment_id = None
            self._now.go(Event.REFUSED)

    async def _begin_closing(self) -> None:
        self._now.require_open(_EXISTS_NOT)
        state = self._now.state
        if state != State.IDLE:
            raise WrongStateError(_OCCUPIED.get(state, f"Manager state is not idle. Current state: {state}"))
        if self._now.is_kernel_taken:
            raise WrongStateError("Worker IPython kernel is busy")
        self._now.go(Event.CLOSE)

    async def _stay_open(self) -> None:
        if self._now.state == State.CLOSING_ENVIRONMENT:
            self._now.go(Event.REFUSED)

    async def _find(self) -> str:
        if self._now.environment_id is None:
            raise WrongStateError("RE environment does not exist")
        return self._now.environment_id

    async def _being_destroyed(self, environment_id: str) -> None:
        if self._now.environment_id == environment_id and self._now.state != State.DESTROYING_ENVIRONMENT:
            self._now.go(Event.DESTROY)


def _id_for(key: str) -> str:
    """The id of an environment: the same for the same request, so that the worker opens one for it and not two."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, key)) if key else new_uid()


def _work_in(environment: EnvironmentState, book: Book) -> Event:
    """What the manager is doing, to judge by the book."""
    environment_id = environment.environment_id
    if book.running and book.running.environment_id == environment_id:
        return Event.RUN
    if any(task.is_foreground and task.environment_id == environment_id for task in book.tasks.values()):
        return Event.TASK
    return Event.READY
