"""The manager: opens and closes the environment, runs the queue, files what comes back (design, section 5).

All that changes the state is a piece of work for the keeper, so one thing happens at a time. What the worker is asked
for is asked outside of that: its answer, like its reports, is a new piece of work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from skybus.bus.api.engine import Run, RunOption
from skybus.bus.api.events import CatalogChanged, EnvironmentChanged, HistoryChanged, ItemChanged, QueueChanged
from skybus.bus.api.internal import (
    CATALOG_REFRESH,
    ENVIRONMENT_END,
    ENVIRONMENT_STATE,
    PLAN_CONTINUE,
    PLAN_PAUSE,
    WORKER_DESTROY,
    WORKER_OPEN,
    EnvironmentDestroy,
    EnvironmentExited,
    EnvironmentOpen,
    EnvironmentOpened,
    EnvironmentPhase,
    EnvironmentState,
    LifeReport,
    PlanContinue,
    PlanPause,
    PlanReport,
)
from skybus.bus.api.items import PLAN, Item
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, UnavailableError, WrongStateError
from skybus.bus.messages import Empty, Message
from skybus.queue import deciding, states
from skybus.queue.book import Book, Running, new_uid
from skybus.queue.keeper import Keeper
from skybus.queue.orders import Orders
from skybus.queue.states import Event, State

log = structlog.get_logger()


class Manager:
    """What happens with the queue of one instrument.

    Args:
        publish: sends an event by topic.
        changed: something that the status shows is different now.
        catalogue_read: auth knows the plans and devices with these uids.
        in_doubt: the worker must be asked what there is; `resume_life` is told the answer.
    """

    def __init__(
        self,
        keeper: Keeper,
        bus: Bus,
        publish: Callable[[str, Message], None],
        changed: Callable[[], None],
        catalogue_read: Callable[[CatalogChanged], None],
        in_doubt: Callable[[], None],
    ) -> None:
        self._keeper = keeper
        self._bus = bus
        self._publish = publish
        self._changed = changed
        self._catalogue_read = catalogue_read
        self._in_doubt = in_doubt
        self._orders = Orders(bus, self._is_awaited, self._order_refused)
        self._opening_failed: EnvironmentOpened | None = None
        self._is_acquainted = asyncio.Event()
        self.state = State.INITIALIZING
        self.environment_id: str | None = None
        """Of the environment that opens or is open."""
        self.is_open = False
        self.environment: EnvironmentState | None = None
        """What the environment has said last."""
        self.pause_pending = False

    # -- the environment -----------------------------------------------------------------------------------------

    async def open_environment(self) -> None:
        """Begin to open an environment."""
        environment_id = await self._keeper.do(self._begin_opening)
        try:
            await self._bus.call(WORKER_OPEN, EnvironmentOpen(environment_id=environment_id))
        except SkybusError as error:
            await self._keeper.do(lambda: self._give_up(environment_id))
            if isinstance(error, UnavailableError):
                self._in_doubt()  # the worker may have begun all the same
            raise

    async def close_environment(self) -> None:
        """Begin to close the environment, which must be idle."""
        await self._keeper.do(self._begin_closing)
        try:
            await self._bus.call(ENVIRONMENT_END, Empty())
        except SkybusError:
            await self._keeper.do(self._stay_open)
            raise

    async def destroy_environment(self) -> None:
        """Kill the environment, whatever it does."""
        environment_id = self.environment_id
        if environment_id is None:
            raise WrongStateError("RE environment does not exist")
        await self._bus.call(WORKER_DESTROY, EnvironmentDestroy(environment_id=environment_id))
        await self._keeper.do(lambda: self._being_destroyed(environment_id))

    # -- the queue -----------------------------------------------------------------------------------------------

    async def start_queue(self) -> None:
        """Begin to run the queue."""
        await self._keeper.do(self._start_queue)

    async def stop_queue(self, *, cancel: bool = False) -> None:
        """Stop the queue when the running plan is done, or take that back."""

        async def work() -> None:
            if not cancel and self.state not in (State.EXECUTING_QUEUE, State.STARTING_QUEUE):
                raise WrongStateError(f"Failed to stop the queue. Queue is not running. Manager state: '{self.state}'")
            await self._keeper.alter(lambda book: book.set_flags(stop_pending=not cancel))

        await self._keeper.do(work)

    async def set_autostart(self, *, enable: bool) -> None:
        """Start the queue by itself whenever it can be."""

        async def work() -> None:
            await self._keeper.alter(lambda book: book.set_flags(autostart=enable))
            await self._autostart()

        await self._keeper.do(work)

    async def items_added(self) -> None:
        """Start the queue if that is wanted."""
        if self._keeper.last.flags.autostart:
            await self._keeper.do(self._autostart)

    async def execute(self, item: Item) -> None:
        """Run an item at once, past the queue."""
        await self._keeper.do(lambda: self._execute(item))

    # -- the Run Engine ------------------------------------------------------------------------------------------

    async def pause(self, option: str) -> None:
        """Ask the Run Engine to pause."""
        self._require_engine()
        await self._bus.call(PLAN_PAUSE, PlanPause.model_validate({"option": option}))
        await self._keeper.do(self._pause_requested)

    async def go_on(self, action: str) -> None:
        """Resume, stop, abort or halt a paused plan."""
        if self.state != State.PAUSED:
            raise WrongStateError(f"RE Manager is not paused: current state is '{self.state}'")
        await self._bus.call(PLAN_CONTINUE, PlanContinue.model_validate({"action": action}))
        await self._keeper.do(self._continued)

    def runs(self, option: RunOption) -> list[Run]:
        """The runs of the running plan."""
        runs = self.environment.runs if self.environment else []
        return [run for run in runs if option == "active" or run.is_open == (option == "open")]

    # -- what comes from the worker ------------------------------------------------------------------------------

    async def handle_report(self, report: LifeReport) -> None:
        """Deal with a report; when this returns, it is stored what came of it.

        After a start it is first asked whether the environment lives: only then it is known what follows.
        """
        await self._is_acquainted.wait()
        if isinstance(report, EnvironmentOpened) and report.success:
            await asyncio.gather(self._have_catalogue_read(), self._ask_environment())
        await self._keeper.do(lambda: self._handle_report(report))

    async def handle_state(self, environment: EnvironmentState) -> None:
        """Take note of what the environment says of itself."""
        await self._keeper.do(lambda: self._take_note(environment))

    async def resume_life(self, environment: EnvironmentState | None, *, is_drained: bool) -> None:
        """Go on after a start, or after a time without a bus.

        Args:
            environment: what the living environment says, or nothing if there is none.
            is_drained: whether every report of the worker has been dealt with.
        """
        await self._keeper.do(lambda: self._resume_life(environment, is_drained=is_drained))
        self._is_acquainted.set()

    async def _have_catalogue_read(self) -> None:
        """An environment is open when its plans can be submitted: auth must know them."""
        try:
            self._catalogue_read(await self._bus.call(CATALOG_REFRESH, Empty(), timeout=15))
        except SkybusError as error:
            log.warning("auth could not read the catalogue of the new environment", reason=error.message)

    async def _ask_environment(self) -> None:
        """What it has pushed may not have reached us."""
        try:
            await self.handle_state(await self._bus.call(ENVIRONMENT_STATE, Empty()))
        except SkybusError as error:
            log.warning("the new environment does not say how it is", reason=error.message)

    # -- pieces of work ------------------------------------------------------------------------------------------

    async def _begin_opening(self) -> str:
        if self.environment_id is not None:
            raise WrongStateError(
                "RE Worker environment already exists."
                if self.is_open
                else "Manager is already in the process of creating the RE Worker environment."
            )
        if self.state != State.IDLE:
            raise WrongStateError(f"Manager state is not idle. Current state: {self.state}")
        self.environment_id = new_uid()
        self._opening_failed = None
        self._go(Event.OPEN)
        return self.environment_id

    async def _give_up(self, environment_id: str) -> None:
        if self.environment_id == environment_id and not self.is_open:
            self.environment_id = None
            self._go(Event.REFUSED)

    async def _begin_closing(self) -> None:
        if not self.is_open:
            raise WrongStateError("RE Worker environment does not exist.")
        if self.state == State.CLOSING_ENVIRONMENT:
            raise WrongStateError("Manager is already in the process of closing the RE Worker environment.")
        if self.state in (State.EXECUTING_QUEUE, State.STARTING_QUEUE, State.PAUSED):
            raise WrongStateError("Queue execution is in progress.")
        if self.state != State.IDLE:
            raise WrongStateError(f"Manager state is not idle. Current state: {self.state}")
        self._go(Event.CLOSE)

    async def _stay_open(self) -> None:
        if self.state == State.CLOSING_ENVIRONMENT:
            self._go(Event.REFUSED)

    async def _being_destroyed(self, environment_id: str) -> None:
        if self.environment_id == environment_id and self.state != State.DESTROYING_ENVIRONMENT:
            self._go(Event.DESTROY)

    async def _start_queue(self) -> None:
        self._require_engine()
        if self.state != State.IDLE:
            raise WrongStateError("RE Manager is busy.")
        await self._keeper.alter(lambda book: book.set_flags(stop_pending=False))
        self._go(Event.START)
        await self._advance(None)

    async def _execute(self, item: Item) -> None:
        environment_id = self._require_engine()
        if self.state != State.IDLE:
            raise WrongStateError("RE Manager is busy.")
        if item["item_type"] != PLAN:
            await self._keeper.alter(lambda book: book.set_flags(autostart=False))
            return
        running = await self._keeper.alter(lambda book: book.start_past_queue(item, environment_id))
        self._go(Event.START)
        self._has_begun(running)

    async def _autostart(self) -> None:
        book = await self._keeper.fresh()
        engine = self.environment is not None and self.environment.has_engine
        if book.flags.autostart and self.is_open and engine and self.state == State.IDLE and len(book.line):
            await self._start_queue()

    async def _pause_requested(self) -> None:
        if self.state == State.EXECUTING_QUEUE:
            self.pause_pending = True
            self._changed()

    async def _continued(self) -> None:
        if self.state == State.PAUSED:
            self._go(Event.CONTINUE)

    async def _handle_report(self, report: LifeReport) -> None:
        log.debug("report", kind=report.kind, environment_id=report.environment_id)
        match report:
            case PlanReport():
                await self._advance(report)
            case EnvironmentOpened():
                await self._opened(report)
            case EnvironmentExited():
                await self._exited(report)

    async def _opened(self, report: EnvironmentOpened) -> None:
        if report.environment_id != self.environment_id or self.is_open:
            return
        if not report.success:
            self._opening_failed = report  # the environment ends now; its exit closes the matter
            log.error("the environment could not be opened", reason=report.msg)
            return
        self.is_open = True
        if self.state == State.CREATING_ENVIRONMENT:
            self._go(Event.OPENED)
        self._publish("environment", EnvironmentChanged(state="opened"))
        await self._autostart()

    async def _exited(self, report: EnvironmentExited) -> None:
        await self._file_lost(report.environment_id, report.msg or "RE Worker environment is gone")
        if report.environment_id == self.environment_id:
            self._forget_environment(report)

    def _forget_environment(self, report: EnvironmentExited) -> None:
        failed = self._opening_failed
        self.environment_id = self.environment = self._opening_failed = None
        self.is_open = self.pause_pending = False
        self._go(Event.GONE)
        if failed:
            self._publish("environment", EnvironmentChanged(state="failed", msg=failed.msg, traceback=failed.traceback))
        else:
            self._publish("environment", EnvironmentChanged(state="closed", msg=report.msg))

    async def _file_lost(self, environment_id: str, why: str) -> None:
        """File the running item as failed: its environment is gone and has sent no report."""
        book = await self._keeper.fresh()
        running = book.running
        if running is None or running.environment_id != environment_id:
            return
        report = deciding.failed(running, why, self.runs("active"))
        filed = await self._keeper.alter(lambda book: deciding.file_and_stop(book, report))
        if filed:
            self._tell_filed(filed, report)
            log.error("the running plan was lost", item_uid=report.item_uid, reason=why)

    async def _take_note(self, environment: EnvironmentState) -> None:
        known = self.environment
        if environment.environment_id != self.environment_id:
            return
        if known and known.revision >= environment.revision:
            return
        self.environment = environment
        self._follow_engine(environment)
        self._changed()

    def _follow_engine(self, environment: EnvironmentState) -> None:
        """Follow the Run Engine into and out of the pause of the running plan."""
        running = self._keeper.last.running
        if running is None or environment.attempt != running.attempt:
            return
        is_paused = environment.re_state == "paused" and environment.phase == EnvironmentPhase.IDLE
        if is_paused and self.state == State.EXECUTING_QUEUE:
            self.pause_pending = False
            self._go(Event.PAUSE)
        elif self.state == State.PAUSED and environment.re_state == "running":
            self._go(Event.CONTINUE)

    async def _resume_life(self, environment: EnvironmentState | None, *, is_drained: bool) -> None:
        book = await self._keeper.fresh()
        if environment is None:
            await self._resume_without(book, is_drained=is_drained)
            return
        if self.environment_id is None:
            self._adopt(environment, book)
        await self._take_note(environment)
        if book.running and book.running.environment_id == environment.environment_id:
            self._orders.send(book.running)
        await self._autostart()

    async def _resume_without(self, book: Book, *, is_drained: bool) -> None:
        if is_drained and book.running and book.running.environment_id != self.environment_id:
            await self._file_lost(book.running.environment_id, "RE Worker environment is gone")
        if self.state == State.INITIALIZING and (is_drained or book.running is None):
            self._go(Event.READY)

    def _adopt(self, environment: EnvironmentState, book: Book) -> None:
        self.environment_id = environment.environment_id
        self.is_open = environment.phase not in (EnvironmentPhase.INITIALIZING, EnvironmentPhase.FAILED)
        mine = book.running is not None and book.running.environment_id == environment.environment_id
        self._go(Event.OPEN if not self.is_open else Event.RUN if mine else Event.READY)
        log.info("environment found", environment_id=environment.environment_id, phase=environment.phase)

    async def _advance(self, report: PlanReport | None) -> None:
        """File what has ended, and begin the next item, in one change."""
        environment_id = self.environment_id
        may_go_on = self.state in (State.STARTING_QUEUE, State.EXECUTING_QUEUE, State.PAUSED)
        step = await self._keeper.alter(
            lambda book: deciding.advance(
                book, report, environment_id, may_go_on=may_go_on, pause_pending=self.pause_pending
            )
        )
        if report is not None:
            if step.filed is None:
                log.info("a report that is filed already", attempt=report.attempt)
                return
            self.pause_pending = False
            self._tell_filed(step.filed, report)
        if step.next:
            self._has_begun(step.next)
        elif self.state not in (State.IDLE, State.INITIALIZING, State.DESTROYING_ENVIRONMENT):
            self.pause_pending = False
            self._go(Event.FINISH)
        await self._autostart()

    def _has_begun(self, running: Running) -> None:
        self._go(Event.RUN)
        self._publish(
            f"item.{running.item['item_uid']}",
            ItemChanged(item_uid=running.item["item_uid"], state="running", name=running.item["name"]),
        )
        self._tell_queue()
        self._orders.send(running)

    def _tell_filed(self, item: Item, report: PlanReport) -> None:
        book = self._keeper.book
        uid = item["item_uid"]
        self._publish(
            f"item.{uid}",
            ItemChanged(
                item_uid=uid, state=report.exit_status, name=item["name"], run_uids=report.run_uids, msg=report.msg
            ),
        )
        self._publish("history", HistoryChanged(plan_history_uid=book.flags.history_uid, size=book.history_size))
        self._tell_queue()
        log.info("item filed", item_uid=uid, exit_status=report.exit_status)

    def _tell_queue(self) -> None:
        book = self._keeper.book
        running = book.running.item["item_uid"] if book.running else None
        self._publish(
            "queue",
            QueueChanged(plan_queue_uid=book.flags.queue_uid, qsize=len(book.line), running_item_uid=running),
        )

    def _is_awaited(self, running: Running) -> bool:
        current = self._keeper.last.running
        return current is not None and current.attempt == running.attempt and self.environment_id is not None

    async def _order_refused(self, running: Running, error: SkybusError) -> None:
        await self.handle_report(deciding.failed(running, f"Failed to start the plan: {error.message}"))

    # -- below ---------------------------------------------------------------------------------------------------

    def _require_engine(self) -> str:
        if not self.is_open or self.environment_id is None:
            raise WrongStateError("RE Worker environment does not exist.")
        if self.environment is not None and not self.environment.has_engine:
            raise WrongStateError("Run Engine is not found in the RE Worker environment.")
        return self.environment_id

    def _go(self, event: Event) -> None:
        before, self.state = self.state, states.after(self.state, event)
        log.debug("state", was=before, on=event, now=self.state)
        self._changed()
