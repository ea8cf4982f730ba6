"""The status of the instrument, pushed: whoever waits for a state is woken by the status that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from nats.aio.msg import Msg

from skybus.bus.api.status import STATUS_GET, Status
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, UnavailableError
from skybus.bus.messages import Empty, decode
from skybus.bus.provenance import is_event
from skybus.bus.tasks import end_tasks

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_WAITING = 1000
"""Statuses that may wait for a slow reader; beyond that it does not get the oldest."""

Condition = Callable[[Status], bool]
_Pushed = asyncio.Queue[Status | BaseException | None]
"""`None` says that the status must be asked for; an exception, that it cannot be."""

CONDITIONS: dict[str, Condition] = {
    "idle": lambda status: status.manager_state == "idle",
    "busy": lambda status: status.manager_state not in ("idle", "paused"),
    "paused": lambda status: status.manager_state == "paused",
    "running": lambda status: status.manager_state == "executing_queue",
    "suspended": lambda status: status.suspended is not None,
    "environment_open": lambda status: status.worker_environment_exists and status.manager_state == "idle",
    "environment_closed": lambda status: not status.worker_environment_exists and status.manager_state == "idle",
    "queue_drained": lambda status: (
        status.manager_state == "idle" and not status.items_in_queue and not status.running_item_uid
    ),
}
"""What one can wait for by name."""


def condition(wanted: str | Condition) -> Condition:
    """The condition of that name, or the function itself."""
    if callable(wanted):
        return wanted
    if wanted not in CONDITIONS:
        raise InvalidError(f"condition {wanted!r} is unknown; known are {', '.join(CONDITIONS)}")
    return CONDITIONS[wanted]


class StatusWatch:
    """Follows the status from the first use on.

    Each status is whole, so one whose revision is higher replaces the one before, whatever was missed in between. After
    a new connection, and when revisions run backwards, the status is asked for.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._readers: set[_Pushed] = set()
        self._is_subscribed = False

    async def now(self) -> Status:
        """Ask for the status."""
        return await self._bus.call(STATUS_GET, Empty())

    async def changes(self) -> AsyncGenerator[Status]:
        """Go through the status of now and each that follows; who reads slowly misses some, but not the newest.

        Raises:
            SkybusError: what the queue service says instead of the status.
        """
        async with self._reader() as pushed:
            asking = self._start_asking(pushed)
            status: Status | None = None
            try:
                while True:
                    new = await pushed.get()
                    if isinstance(new, BaseException):
                        raise new
                    if new is None or (status and new.revision < status.revision):
                        await end_tasks([asking])
                        asking = self._start_asking(pushed)
                    elif status is None or new.revision != status.revision:
                        status = new
                        yield status
            finally:
                await end_tasks([asking])

    async def wait(self, wanted: Condition) -> Status:
        """Wait for the first status that fulfils a condition."""
        async with aclosing(self.changes()) as changes:
            async for status in changes:
                if wanted(status):
                    return status
        raise AssertionError("the status never ends")

    def _start_asking(self, pushed: _Pushed) -> asyncio.Task[None]:
        def tell(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                _put(pushed, error)

        asking = asyncio.create_task(self._ask(pushed))
        asking.add_done_callback(tell)
        return asking

    async def _ask(self, pushed: _Pushed) -> None:
        """Ask for the status until the queue service, which may be starting or connecting again, answers."""
        pause = _FIRST_PAUSE
        while True:
            await self._bus.wait_connected()
            try:
                return _put(pushed, await self.now())
            except UnavailableError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[_Pushed]:
        if not self._is_subscribed:
            self._is_subscribed = True
            self._bus.on_connect.append(self._on_connect)
            await self._bus.subscribe(self._bus.subjects.event("status"), self._on_status)
        pushed: _Pushed = asyncio.Queue(_WAITING)
        self._readers.add(pushed)
        try:
            yield pushed
        finally:
            self._readers.discard(pushed)

    async def _on_connect(self, _connection: object) -> None:
        self._push(None)

    async def _on_status(self, message: Msg) -> None:
        if self._readers and is_event(self._bus.subjects, message):
            self._push(decode(Status, message.data))

    def _push(self, status: Status | None) -> None:
        for pushed in self._readers:
            _put(pushed, status)


def _put(pushed: _Pushed, entry: Status | BaseException | None) -> None:
    if pushed.full():
        pushed.get_nowait()
    pushed.put_nowait(entry)
