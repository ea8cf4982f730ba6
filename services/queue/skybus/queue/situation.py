"""Where the manager stands: its state, and what is known of the environment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from skybus.bus.api.engine import Run, RunOption
from skybus.bus.api.internal import EnvironmentState
from skybus.bus.errors import WrongStateError
from skybus.queue import states
from skybus.queue.states import Event, State

log = structlog.get_logger()


class Situation:
    """Changed only by pieces of work that the keeper does.

    Args:
        changed: something that the status shows is different now.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._on_change = changed
        self._has_changed = asyncio.Event()
        self.state = State.INITIALIZING
        self.environment_id: str | None = None
        """Of the environment that opens or is open."""
        self.is_open = False
        self.environment: EnvironmentState | None = None
        """What the environment has said last."""
        self.pause_pending = False

    @property
    def has_engine(self) -> bool:
        """Whether the environment is known to have a RunEngine."""
        return self.is_open and self.environment is not None and self.environment.has_engine

    @property
    def has_kernel(self) -> bool:
        """Whether an IPython kernel runs in the environment."""
        return self.is_open and self.environment is not None and self.environment.ip_kernel_state != "disabled"

    @property
    def is_kernel_taken(self) -> bool:
        """Whether somebody at a console lets the IPython kernel work."""
        environment = self.environment
        return environment is not None and environment.ip_kernel_state == "busy" and not environment.ip_kernel_captured

    @property
    def holds_kernel(self) -> bool:
        """Whether the manager has the IPython kernel, if there is one."""
        environment = self.environment
        return self.has_kernel and environment is not None and environment.ip_kernel_captured

    @property
    def is_suspended(self) -> bool:
        """Whether suspenders hold the running plan."""
        return self.environment is not None and self.environment.suspended is not None

    def changed(self) -> None:
        """Something that the status shows is different now."""
        self._on_change()
        self._has_changed.set()  # wakes those who wait now
        self._has_changed.clear()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that depends on what the status shows."""
        while not condition():
            await self._has_changed.wait()

    def go(self, event: Event) -> None:
        """Take a step in the table of states."""
        before, self.state = self.state, states.after(self.state, event)
        log.debug("state", was=before, on=event, now=self.state)
        self.changed()

    def learn(self, environment: EnvironmentState) -> bool:
        """Take note of what the environment says of itself; returns whether that is news."""
        known = self.environment
        if environment.environment_id != self.environment_id:
            return False
        if known and known.revision >= environment.revision:
            return False
        self.environment = environment
        return True

    def forget(self) -> None:
        """The environment is gone."""
        self.environment_id = self.environment = None
        self.is_open = self.pause_pending = False
        self.go(Event.GONE)

    def runs(self, option: RunOption) -> list[Run]:
        """The runs of the running plan."""
        runs = self.environment.runs if self.environment else []
        return [run for run in runs if option == "active" or run.is_open == (option == "open")]

    def require_open(self, otherwise: str) -> str:
        """The id of the open environment.

        Raises:
            WrongStateError: there is none; with the words of `otherwise`.
        """
        if not self.is_open or self.environment_id is None:
            raise WrongStateError(otherwise)
        return self.environment_id

    def require_engine(self) -> str:
        """The id of the open environment, which has a RunEngine.

        Raises:
            WrongStateError: there is none, or it has none.
        """
        environment_id = self.require_open("RE Worker environment does not exist.")
        if self.environment is not None and not self.environment.has_engine:
            raise WrongStateError("Run Engine is not found in the RE Worker environment.")
        return environment_id

    def require_ready(self) -> str:
        """The id of the open environment, in which a plan can begin.

        Raises:
            WrongStateError: none can.
        """
        environment_id = self.require_engine()
        if self.state != State.IDLE:
            raise WrongStateError("RE Manager is busy.")
        if self.is_kernel_taken:
            raise WrongStateError("IPython kernel (RE Worker) is busy.")
        return environment_id
