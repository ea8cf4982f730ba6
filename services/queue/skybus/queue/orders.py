"""Orders to the environment: each is sent until it is confirmed; the environment does what has the same uid once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from skybus.bus.connection import Bus
from skybus.bus.endpoints import InternalEndpoint
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.messages import Message
from skybus.bus.tasks import end_tasks

log = structlog.get_logger()

AGAIN = 0.5
"""Seconds after which an order that may not have arrived is sent again."""


@dataclass(frozen=True)
class Order:
    """Something that the environment is to do."""

    name: str
    """While one of this name is under way, no other is sent."""
    endpoint: InternalEndpoint[Any, Any]
    request: Message
    is_awaited: Callable[[], bool]
    """Whether it is still to be done."""
    refused: Callable[[SkybusError], Awaitable[None]]
    """Told that the environment will not do it, and why."""


@dataclass(frozen=True)
class Check:
    """What an order must pass before the environment hears of it."""

    ask: Callable[[], Awaitable[None]]
    """Raises what forbids the order."""
    forbidden: Callable[[SkybusError], Awaitable[None]]
    """Told so."""


class Orders:
    """Sends orders, each in a task of its own."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def send(self, order: Order, check: Check | None = None) -> None:
        """Have something done."""
        if order.name in self._tasks:
            return
        task = self._tasks[order.name] = asyncio.create_task(self._send(order, check), name=f"order {order.name}")
        task.add_done_callback(lambda _: self._tasks.pop(order.name))

    async def end(self) -> None:
        """Send nothing any more. The next leader sends again what is still awaited."""
        await end_tasks(self._tasks.values())

    async def _send(self, order: Order, check: Check | None) -> None:
        if check and not await _has_consent(order, check.ask, check.forbidden):
            return
        await _has_consent(order, lambda: self._bus.call(order.endpoint, order.request), order.refused)


async def _has_consent(
    order: Order, ask: Callable[[], Awaitable[Any]], refused: Callable[[SkybusError], Awaitable[None]]
) -> bool:
    """Ask until there is an answer or the order is not awaited any more; returns whether it was yes."""
    while order.is_awaited():
        try:
            return await _is_granted(ask, refused)
        except UnavailableError as error:
            log.warning("an order has to wait", order=order.endpoint.name, reason=error.message)
            await asyncio.sleep(AGAIN)
    return False


async def _is_granted(ask: Callable[[], Awaitable[Any]], refused: Callable[[SkybusError], Awaitable[None]]) -> bool:
    try:
        await ask()
    except UnavailableError:
        raise
    except SkybusError as error:
        await refused(error)
        return False
    return True
