"""Orders to the environment: each is sent until it is confirmed; the environment does an attempt once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from skybus.bus.api.internal import PLAN_RUN, PlanRun
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.queue.book import Running

log = structlog.get_logger()

AGAIN = 0.5
"""Seconds after which an order that may not have arrived is sent again."""


class Orders:
    """Sends orders, each in a task of its own.

    Args:
        is_awaited: whether an attempt is still the one that should run.
        refused: told of an attempt that the environment will not run, and why.
    """

    def __init__(
        self,
        bus: Bus,
        is_awaited: Callable[[Running], bool],
        refused: Callable[[Running, SkybusError], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._is_awaited = is_awaited
        self._refused = refused
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, running: Running) -> None:
        """Have an attempt run."""
        task = asyncio.create_task(self._send(running), name=f"run {running.attempt}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, running: Running) -> None:
        order = PlanRun(attempt=running.attempt, item=running.item)
        while self._is_awaited(running):
            try:
                await self._bus.call(PLAN_RUN, order)
            except UnavailableError as error:
                log.warning("the environment has not confirmed an order", reason=error.message)
                await asyncio.sleep(AGAIN)
            except SkybusError as error:
                await self._refused(running, error)
                return
            else:
                return
