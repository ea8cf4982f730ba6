"""The life of a service process: connect, serve, drain on SIGTERM."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from nats.aio.client import Client as Connection
from pydantic import ValidationError
from pydantic_settings import SettingsError

from skybus.bus.arrivals import say_here
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError
from skybus.bus.freed_memory import map_large_buffers, return_freed_memory
from skybus.bus.hidden_memory import hide_memory
from skybus.bus.log_stream import publish_lines
from skybus.bus.logs import lines, start_logging
from skybus.bus.messages import explain
from skybus.bus.notify import report_life
from skybus.bus.settings import BusSettings
from skybus.bus.tasks import end_tasks

log = structlog.get_logger()

S = TypeVar("S", bound=BusSettings)

LAST_LINES = 1.0
"""Seconds that a process which ends has to put its last log lines into the console stream."""


@dataclass
class Process:
    """What a service's main coroutine is given."""

    name: str
    bus: Bus
    group: asyncio.TaskGroup
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by SIGTERM and SIGINT."""
    signal: int | None = None
    """The signal that has set it."""
    _side_tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _ending: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        """Start a side task; one that dies takes the service down."""
        task = self.group.create_task(work, name=name)
        task.add_done_callback(self._on_end)
        self._side_tasks.append(task)

    async def connect(self, *, publishes: bool = True) -> None:
        """Connect to the bus, with all that was registered on it, and wait until that is done.

        Args:
            publishes: whether the bus is told that we are there, and what we log; only services in the account SKY may.
        """
        if publishes:
            self.bus.on_connect.append(self._say_that_we_are_there)  # the last of these hooks: now we answer
        self.start(self.bus.run(), "bus")
        if publishes:
            self.start(publish_lines(self.bus, self.name), "log lines")
        await self.unless_stopped(self.bus.wait_connected())

    async def _say_that_we_are_there(self, _: Connection) -> None:
        await say_here(self.bus, self.name)

    async def unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for something, but not longer than until the process is told to stop."""
        waits = {asyncio.ensure_future(work), asyncio.ensure_future(self.stop.wait())}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waits:
                task.cancel()

    async def end(self) -> None:
        """End the side tasks."""
        await end_tasks(self._side_tasks)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Have the others end after one that has died: the group cancels each once, which can get lost."""
        if not task.cancelled() and task.exception() and not self._ending:
            self.stop.set()
            self._ending = asyncio.create_task(self.end(), name="end")


Main = Callable[[S, Process], Awaitable[None]]


def run_service(name: str, settings_class: type[S], serve: Main[S]) -> None:
    """Run a service until it is told to stop; the console scripts call this."""
    faulthandler.enable()  # SIGABRT, which a silent service gets, writes its stacks
    start_logging(name)
    try:
        settings = settings_class()
    except ValidationError as error:
        sys.exit(f"skybus-{name}: {explain(error)}")
    except SettingsError as error:
        sys.exit(f"skybus-{name}: {error}: its value must be JSON")
    start_logging(name, settings.log_level)
    map_large_buffers()
    if not settings.dumpable:
        hide_memory()
    try:
        run_loop(_run(name, settings, serve))
    except* SkybusError as group:
        sys.exit(f"skybus-{name}: {'; '.join(str(error) for error in group.exceptions)}")


def run_loop(main: Awaitable[None]) -> None:
    """Run a coroutine on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
    else:
        uvloop.run(main)  # type: ignore[arg-type]


async def _run(name: str, settings: S, serve: Main[S]) -> None:
    subjects, replicas, largest = settings.subjects(), settings.replicas, settings.max_request
    bus = Bus(f"skybus-{name}", subjects, lambda: settings.access(name), replicas, largest, settings.share)
    async with asyncio.TaskGroup() as group:
        process = Process(name, bus, group)
        _stop_on_signal(process)
        process.start(report_life(), "reports of life")
        process.start(return_freed_memory(), "freed memory")
        process.start(bus.loop_delay.run(), "loop delay")
        await serve(settings, process)
        if bus.is_connected:
            await lines.until_published(LAST_LINES)
        await process.end()
    log.info("stopped")


def _stop_on_signal(process: Process) -> None:
    def stop(number: int) -> None:
        process.signal = number
        process.stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
