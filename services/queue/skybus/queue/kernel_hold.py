"""The IPython kernel, if the environment has one, is the manager's while it runs the queue, and nobody else's then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from skybus.bus.api.internal import KERNEL_RELEASE, KERNEL_RESERVE, EnvironmentState
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError
from skybus.bus.messages import Empty
from skybus.queue.keeper import Keeper
from skybus.queue.situation import Situation
from skybus.queue.states import Event, State

log = structlog.get_logger()

RUNNING = (State.STARTING_QUEUE, State.EXECUTING_QUEUE, State.PAUSED)
"""States of a manager that runs the queue."""

Work = Callable[[], Awaitable[None]]
"""A piece of work for the keeper."""


class KernelHold:
    """Gets the kernel before the queue begins, and gives it back before the manager is idle."""

    def __init__(self, keeper: Keeper, bus: Bus, situation: Situation) -> None:
        self._keeper = keeper
        self._bus = bus
        self._now = situation
        self._tasks: set[asyncio.Task[None]] = set()

    async def reserve(self) -> None:
        """Get the kernel for what follows; outside of the keeper's turn.

        Raises:
            WrongStateError: somebody at a console has it.
        """
        if self._now.has_kernel:
            environment = await self._bus.call(KERNEL_RESERVE, Empty())
            await self._keeper.do(lambda: self._learn(environment))

    def reserve_for(self, work: Work) -> None:
        """Get the kernel, then have something done; if a cell is faster, its end gives occasion for another try."""
        self._start(self._reserve_for(work))

    def finish(self, afterwards: Work) -> None:
        """Be idle as soon as consoles can have the kernel; inside the keeper's turn."""
        if self._now.holds_kernel:
            self._start(self._give_back(self._now.environment_id, afterwards))
        else:
            self._now.go(Event.FINISH)

    # --------------------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reserve_for(self, work: Work) -> None:
        try:
            await self.reserve()
        except SkybusError as error:
            log.debug("the IPython kernel could not be reserved", reason=error.message)
            return
        await self._keeper.do(work)

    async def _give_back(self, environment_id: str | None, afterwards: Work) -> None:
        try:
            environment = await self._bus.call(KERNEL_RELEASE, Empty())
        except SkybusError as error:  # it gives the kernel back by itself soon
            log.debug("the IPython kernel could not be given back", reason=error.message)
            environment = None
        await self._keeper.do(lambda: self._given_back(environment_id, environment, afterwards))

    async def _given_back(
        self, environment_id: str | None, environment: EnvironmentState | None, afterwards: Work
    ) -> None:
        if environment:
            await self._learn(environment)
        is_over = self._now.state in RUNNING and self._keeper.last.running is None
        if is_over and self._now.environment_id == environment_id:
            self._now.go(Event.FINISH)
            await afterwards()

    async def _learn(self, environment: EnvironmentState) -> None:
        if self._now.learn(environment):
            self._now.changed()
