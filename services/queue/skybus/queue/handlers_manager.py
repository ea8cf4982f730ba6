"""Who answers the endpoints of the manager itself: status, configuration, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

from skybus.bus.api import manager as api
from skybus.bus.api.status import PING, STATUS_GET, Status
from skybus.bus.errors import InvalidError, UnavailableError, WrongStateError
from skybus.bus.logs import lines
from skybus.bus.messages import Empty, Nothing
from skybus.bus.service import Handler, log_outcome
from skybus.queue.book import Book
from skybus.queue.keeper import Keeper
from skybus.queue.manager import Manager
from skybus.queue.once import current_start
from skybus.queue.states import State
from skybus.queue.status import StatusMaker

LAST_LINE = 1.0
"""Seconds that the line of its death has to get into the console stream."""


class ManagerHandlers:
    """Says how things are, and ends them.

    Args:
        stack_pid: the process of `skybus up`, if it is that which runs us.
    """

    def __init__(self, keeper: Keeper, manager: Manager, status: StatusMaker, stack_pid: int) -> None:
        self._keeper = keeper
        self._manager = manager
        self._status = status
        self._stack_pid = stack_pid

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(PING, self.get_status),
            Handler(STATUS_GET, self.get_status),
            Handler(api.CONFIG_GET, self.get_config),
            Handler(api.MANAGER_STOP, self.stop_stack),
            Handler(api.MANAGER_KILL, self.kill),
            Handler(api.MANAGER_TEST, self.test),
        ]

    async def get_status(self, _: Empty) -> Status:
        """Say how things are."""
        return self._status.make()

    async def get_config(self, _: Empty) -> api.Config:
        """Say how to connect to the IPython kernel."""
        return api.Config(config={"ip_connect_info": await self._manager.engine.kernel_connection()})

    async def stop_stack(self, request: api.ManagerStop) -> Nothing:
        """Have `skybus up` stop everything."""
        if not self._stack_pid:
            raise WrongStateError("this queue service was not started by `skybus up`: stop its services one by one")

        def require_rest() -> None:
            state = self._manager.situation.state
            if request.option == "safe_on" and state != State.IDLE:
                raise WrongStateError(f"RE Manager state is not idle: '{state}'")

        require_rest()
        await self._answered_before_the_end(require_rest)
        os.kill(self._stack_pid, signal.SIGTERM)
        return Nothing()

    async def kill(self, request: api.ManagerKill) -> NoReturn:
        """End this process, as a crash does."""
        await self._answered_before_the_end(lambda: None)
        log_outcome(api.MANAGER_KILL, request, Nothing())
        await lines.until_published(LAST_LINE)
        time.sleep(request.hang)  # noqa: ASYNC251 - to hang is what is asked for
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    async def _answered_before_the_end(self, require: Callable[[], None]) -> None:
        """The same request must not end also what begins afterwards; it is done without Redis, too."""

        def alter(_: Book) -> Nothing:
            require()
            return Nothing()

        if start := current_start():
            start.make()
        with contextlib.suppress(UnavailableError):
            await self._keeper.change(alter)

    async def test(self, request: api.ManagerTest) -> Nothing:
        """Try out a part of the manager."""
        if request.test_name != "reserve_kernel":
            raise InvalidError(f"Unknown test: {request.test_name!r}. Known tests: ['reserve_kernel']")
        await self._manager.engine.reserve_kernel()
        return Nothing()
