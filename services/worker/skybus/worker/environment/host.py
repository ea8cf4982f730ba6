"""The environment process from its order to its end.

The main thread runs startup code and plans. A second thread holds the bus, the outbox and the state; it never waits for
the first. Each tells the other what to do through a queue.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import structlog

from skybus.bus.api.engine import Suspended
from skybus.bus.api.events import EnvironmentFacts
from skybus.bus.api.internal import EnvironmentOpened, EnvironmentPhase, PlanReport, TaskReport
from skybus.bus.connection import Bus
from skybus.bus.errors import WrongStateError
from skybus.bus.runtime import run_loop
from skybus.bus.service import Service
from skybus.worker.environment.children import Children, sockets_on
from skybus.worker.environment.ending import EXIT_HANDLERS, cut, run_exit_handlers
from skybus.worker.environment.engine import EngineWatcher
from skybus.worker.environment.execution import Executor, Leave
from skybus.worker.environment.failures import full_traceback, reason
from skybus.worker.environment.handlers import EnvironmentHandlers
from skybus.worker.environment.kernel import Kernel, interruptible
from skybus.worker.environment.kernel_handlers import KernelHandlers
from skybus.worker.environment.kernel_turns import KernelTurns
from skybus.worker.environment.origin import Origin
from skybus.worker.environment.output import Output, say
from skybus.worker.environment.signals import SignalSocket, user_code_runs
from skybus.worker.environment.space import Space, load_space
from skybus.worker.environment.state import StateKeeper
from skybus.worker.environment.task_handlers import TaskHandlers
from skybus.worker.environment.telling import Telling
from skybus.worker.environment.turns import Turns
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.kernel_options import KernelOptions
from skybus.worker.memory import end_without_memory
from skybus.worker.order import Order
from skybus.worker.outbox import Outbox
from skybus.worker.run_notes import RunNotes
from skybus.worker.spool import Spool

log = structlog.get_logger()

FLUSH = 1.5
"""Seconds that JetStream has to take the rest at the end; the supervisor sends what is left."""
FLUSH_ALONE = 0.1
"""The same while there is no connection."""
ABORT = 1.2
"""Seconds that a plan has to end on SIGTERM."""
STARTUP_FAILED = FAULT = 1


class Host(EngineWatcher):
    """One environment."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = EnvironmentFolder(order.folder)
        self._is_leaving = False
        self._kernel: Kernel | None = None

    def run(self) -> int:
        """Run the environment and return the exit code; called in the main thread."""
        ready: Future[None] = Future()
        threading.Thread(target=self._run_loop, args=(ready,), name="skybus", daemon=True).start()
        ready.result()
        self._listen_to_signals()
        self._free_children()
        self._output.capture()
        code = FAULT
        try:
            code = self._work(is_open=self._open())
        except MemoryError:
            end_without_memory()
        except BaseException:  # threads of user code must not keep a process whose main thread has ended
            log.exception("the main thread cannot go on")
        finally:
            self._end(code)
        return code

    # What follows is done in the main thread.

    def _work(self, *, is_open: bool) -> int:
        """Do what is ordered until the end, which a client of the kernel may bring about too."""
        code = None
        if self._kernel and is_open:
            code = self._kernel.run()
            if code is None:
                self._tell(self._left)
        while code is None:
            code = self._executor.work()
        return code

    def _open(self) -> bool:
        try:
            origin = Origin(self._order)
            with user_code_runs():
                space = load_space(self._order, self, self._kernel)
            facts = origin.facts()
        except Exception as error:  # what startup code has made may raise anything when it is looked at
            why, where = reason(error), full_traceback(error)
            log.error("startup code has failed", error=why)
            say(where)
            self._tell(self._failed, why, where)
            return False
        say("RE Environment is ready")  # for those who watch the console, as the reference's users do
        self._tell(self._opened, space, facts)
        return True

    def engine_moved(self, state: str) -> None:
        """Called in the thread of the RunEngine; see `EngineWatcher`."""
        self._tell(self._handlers.engine_moved, state)

    def engine_suspended(self, suspended: Suspended | None) -> None:
        """Called in the thread of the RunEngine; see `EngineWatcher`."""
        self._tell(self._handlers.engine_suspended, suspended)

    def plan_paused(self) -> None:
        """Called in the main thread; see `Listener`."""
        self._tell(self._handlers.plan_paused)

    def plan_ended(self, report: PlanReport) -> None:
        """Called in the main thread; see `Listener`."""
        self._tell(self._handlers.plan_ended, report)

    def task_ended(self, report: TaskReport) -> None:
        """Called in the thread of the task; see `Listener`."""
        self._tell(self._tasks.task_ended, report)

    def _tell(self, call: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(call, *args)

    def _listen_to_signals(self) -> None:
        self._signals = SignalSocket(lambda *_: self._tell(self._terminate))
        self._tell(self._loop.add_reader, self._signals.fileno(), self._on_signal)
        self._signals.listen()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Surround user code in the main thread."""
        self._signals.listen()
        with user_code_runs(), interruptible() if self._kernel else nullcontext():
            yield

    def _free_children(self) -> None:
        """Keep what is ours from the children that user code will fork."""
        children = Children(self._folder.path, self._signals)
        children.keep_from(lambda: self._output.descriptors)
        children.keep_from(lambda: self._bus.descriptors)
        if kernel := self._kernel:
            children.keep_from(lambda: sockets_on(kernel.ports))
        children.watch()

    def _end(self, code: int) -> None:
        """Run the exit handlers of user code and end the process, whatever its threads are doing."""
        run_exit_handlers(code)
        with suppress(OSError):
            self._folder.exit_code.write_text(str(code))
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)

    # What follows is done in the asyncio thread.

    def _run_loop(self, ready: Future[None]) -> None:
        try:
            run_loop(self._serve(ready))
        except BaseException as error:
            log.exception("the environment cannot go on")
            if not ready.done():
                ready.set_exception(error)

    async def _serve(self, ready: Future[None]) -> None:
        order, settings = self._order, self._order.bus_settings()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_on_loop_error)
        self._bus = Bus(
            "skybus-environment",
            settings.subjects(),
            lambda: settings.access("environment"),
            settings.replicas,
            settings.max_request,
        )
        self._outbox = Outbox(Spool(self._folder.spool), self._bus, self._folder.undelivered)
        notes = RunNotes(self._folder.runs)
        self._telling = Telling(order.environment_id, self._outbox, notes, self._bus, self._loop)
        self._output = Output(self._folder.fifo, self._folder.item, self._telling.console)
        self._state = StateKeeper(order.environment_id, self._bus)
        self._executor = Executor(self._output, self, self._guard)
        self._turns = turns = self._share_main_thread(order.kernel) if order.kernel else Turns()
        kernel_handlers = KernelHandlers(self._state, turns, self._kernel)
        self._handlers = EnvironmentHandlers(self._state, self._executor, self._telling, self, turns)
        self._tasks = TaskHandlers(self._state, self._executor, self._telling, self._bus, turns)
        handlers = [*self._handlers.table(), *self._tasks.table(), *kernel_handlers.table()]
        self._service = Service(self._bus, "environment", handlers, stores=False)
        self._bus.on_connect.append(self._state.publish_again)  # when questions about it can be answered
        self._output.read_on(self._loop)
        ready.set_result(None)
        await asyncio.gather(_keep_up(self._bus.run), _keep_up(self._outbox.run))

    def _share_main_thread(self, options: KernelOptions) -> Turns:
        turns = KernelTurns(options, self._state, self._executor, lambda: self._handlers.cells_ended())
        self._kernel = turns.kernel
        return turns

    def _left(self) -> None:
        """A client has shut the kernel down."""
        if not self._is_leaving:
            self._state.change(phase=EnvironmentPhase.CLOSING)
            self.close()

    def close(self) -> None:
        """End the process when the replies are sent; see `Life`."""
        with suppress(OSError):  # the disk is full: the account of our end will not say that it was wanted
            self._folder.closing.touch()
        self._leave(0)

    def _opened(self, space: Space, facts: EnvironmentFacts) -> None:
        self._turns.opened()
        self._tasks.opened(space)
        self._handlers.opened(space)
        told = facts.model_copy(update={"warnings": space.warnings})
        self._telling.opened(EnvironmentOpened(environment_id=self._order.environment_id, success=True, facts=told))

    def _failed(self, why: str, where: str) -> None:
        self._telling.opened(
            EnvironmentOpened(environment_id=self._order.environment_id, success=False, msg=why, traceback=where)
        )
        self._state.change(phase=EnvironmentPhase.FAILED)
        self._leave(STARTUP_FAILED)

    def _on_signal(self) -> None:
        signals = self._signals.read()
        if signal.SIGTERM in signals:
            self._terminate()
        if signal.SIGINT in signals and self._kernel:
            self._kernel.wake()

    def _terminate(self) -> None:
        if not self._is_leaving:
            log.info("told to end", re_state=self._state.state.re_state)
            self._leave(-signal.SIGTERM, self._abort_plan())

    def _leave(self, code: int, first: Awaitable[None] | None = None) -> None:
        self._is_leaving = True
        self._leaving = asyncio.ensure_future(self._finish(code, first))

    async def _finish(self, code: int, first: Awaitable[None] | None) -> None:
        if first is not None:
            await first
        await self._service.drain()
        self._output.read_rest()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH if self._bus.is_connected else FLUSH_ALONE):
                await self._outbox.delivered()
        self._executor.order(Leave(code))
        if self._kernel:
            self._kernel.nudge()
        if code < 0:  # the main thread may be busy for long
            self._loop.call_later(EXIT_HANDLERS, cut, 128 - code)

    async def _abort_plan(self) -> None:
        """Pause and abort the plan that is running."""
        try:
            async with asyncio.timeout(ABORT):
                await self._try_abort()
        except (TimeoutError, WrongStateError):
            log.warning("the plan could not be aborted in time", item=self._state.state.attempt)
        self._state.change(phase=EnvironmentPhase.CLOSING)

    async def _try_abort(self) -> None:
        if self._state.state.attempt is None:
            return
        if not self._state.is_paused:
            await self._handlers.pause_now()
            await self._state.wait_for(lambda state: self._state.is_paused or state.attempt is None)
        if self._state.is_paused:
            await self._handlers.go_on("abort")
            await self._state.wait_for(lambda state: state.attempt is None)


async def _keep_up(work: Callable[[], Awaitable[None]]) -> None:
    """Run something for ever, even if it has a fault: a plan must not end because of it."""
    while True:
        try:
            await work()
        except MemoryError:
            end_without_memory()
        except Exception:
            log.exception("a part of the environment has failed; it is started again")
            await asyncio.sleep(1)


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Deal with an error that nobody waits for; one of memory may have cost us a report.

    It goes into our own log: the default handler would use `logging`, which is user code's.
    """
    error = context.get("exception")
    if isinstance(error, MemoryError):
        end_without_memory()
    log.error("an error in the event loop", reason=context.get("message"), exc_info=error)
