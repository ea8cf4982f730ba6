"""The one place that knows what the environment is doing; each change is pushed to the rest of the house.

Everything here runs in the asyncio thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client as Connection

from skybus.bus.api.internal import ENVIRONMENT_STATE_TOPIC, EnvironmentPhase, EnvironmentState
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, WrongStateError

log = structlog.get_logger()

AT_REST = (EnvironmentPhase.IDLE, EnvironmentPhase.RESERVED)
"""Phases in which nothing of ours runs in the main thread."""
LAST = (EnvironmentPhase.CLOSING, EnvironmentPhase.FAILED)
"""Phases after which no other comes, whatever still ends meanwhile."""


class StateKeeper:
    """Holds the state and publishes it."""

    def __init__(self, environment_id: str, bus: Bus) -> None:
        self._bus = bus
        self._state = EnvironmentState(
            environment_id=environment_id, revision=0, phase=EnvironmentPhase.INITIALIZING, has_engine=False
        )
        self._waiters: list[tuple[Callable[[EnvironmentState], bool], asyncio.Future[None]]] = []
        self._publishing: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> EnvironmentState:
        """The state now."""
        return self._state

    @property
    def is_idle(self) -> bool:
        """Whether a plan could begin."""
        return self._state.phase in AT_REST and self._state.attempt is None

    @property
    def is_paused(self) -> bool:
        """Whether a plan waits for somebody to say how to go on."""
        state = self._state
        return state.phase in AT_REST and state.attempt is not None and state.re_state == "paused"

    def require_idle(self, what: str) -> None:
        """Refuse what needs the main thread for itself.

        Raises:
            WrongStateError: a plan or a task runs, or the environment is not open.
        """
        if not self.is_idle:
            state = self._state
            attempt = f", attempt {state.attempt} is {state.re_state}" if state.attempt else ""
            raise WrongStateError(f"{what}: the environment is '{state.phase}'{attempt}")

    def change(self, **changes: Any) -> None:
        """Take new values, and publish if any differs."""
        if self._state.phase in LAST:
            changes.pop("phase", None)
        if all(getattr(self._state, name) == value for name, value in changes.items()):
            return
        self._state = self._state.model_copy(update={**changes, "revision": self._state.revision + 1})
        self._publish()
        for waiter in self._waiters:
            if waiter[0](self._state) and not waiter[1].done():
                waiter[1].set_result(None)

    async def wait_for(self, condition: Callable[[EnvironmentState], bool]) -> None:
        """Wait until the state is such."""
        if condition(self._state):
            return
        waiter = (condition, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter[1]
        finally:
            self._waiters.remove(waiter)

    def _publish(self) -> None:
        """Send the state, also on a connection that is still being set up: its hook may have told an older one."""
        task = asyncio.ensure_future(self._send(self._state))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def publish_again(self, _connection: Connection) -> None:
        """Tell a bus that was away; a hook of the connection."""
        await self._send(self._state)

    async def _send(self, state: EnvironmentState) -> None:
        try:
            await self._bus.publish(self._bus.subjects.internal(ENVIRONMENT_STATE_TOPIC), state)
        except (nats.errors.Error, OSError, SkybusError) as error:
            tell = log.warning if self._bus.is_connected else log.debug  # a bus that comes back is told again
            tell("the state could not be published", error=str(error))
