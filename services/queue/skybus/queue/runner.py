"""Runs the queue: starts items, files what came of them, goes on or stops (design, section 5).

All that changes the book is a piece of work for the keeper, so one thing happens at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from skybus.bus.api.internal import PLAN_RUN, EnvironmentExited, PlanReport, PlanRun
from skybus.bus.api.items import PLAN, Item
from skybus.bus.errors import NotFoundError, SkybusError, UnavailableError, WrongStateError
from skybus.bus.messages import Message
from skybus.queue import deciding
from skybus.queue.announcer import Announcer
from skybus.queue.book import Book
from skybus.queue.keeper import Keeper
from skybus.queue.kernel_hold import RUNNING, KernelHold
from skybus.queue.orders import Check, Order, Orders
from skybus.queue.records import Running, uid_after
from skybus.queue.rights import Rights
from skybus.queue.situation import Situation
from skybus.queue.states import Event, State

log = structlog.get_logger()

R = TypeVar("R", bound=Message)


class Runner:
    """Runs the items of the queue, one after the other.

    Args:
        in_doubt: the worker must be asked what there is.
    """

    def __init__(
        self,
        keeper: Keeper,
        situation: Situation,
        announcer: Announcer,
        orders: Orders,
        rights: Rights,
        in_doubt: Callable[[], None],
        hold: KernelHold,
    ) -> None:
        self._keeper = keeper
        self._now = situation
        self._announcer = announcer
        self._orders = orders
        self._rights = rights
        self._in_doubt = in_doubt
        self._hold = hold

    async def start(self) -> None:
        """Begin to run the queue."""
        await self._get_kernel()
        await self._keeper.do(lambda: self._start(self._begin_as_asked))

    async def stop(self, *, cancel: bool = False) -> None:
        """Stop the queue when the running plan is done, or take that back."""

        async def work() -> None:
            state = self._now.state
            if not cancel and state not in (State.EXECUTING_QUEUE, State.STARTING_QUEUE):
                raise WrongStateError(f"Failed to stop the queue. Queue is not running. Manager state: '{state}'")
            await self._keeper.answer_once(lambda book: book.set_flags(stop_pending=not cancel))

        await self._keeper.do(work)

    async def set_autostart(self, *, enable: bool) -> None:
        """Start the queue by itself whenever it can be."""

        async def work() -> None:
            await self._keeper.answer_once(lambda book: book.set_flags(autostart=enable))
            await self.autostart()

        await self._keeper.do(work)

    async def items_added(self) -> None:
        """Start the queue if that is wanted."""
        if self._keeper.last.flags.autostart:
            await self._keeper.do(self.autostart)

    async def execute(self, item: Item, told: Callable[[Book], R]) -> R:
        """Run an item at once, past the queue; `told` says what who asks for it is told."""
        if item["item_type"] == PLAN:
            await self._get_kernel()
        return await self._keeper.do(lambda: self._execute(item, told))

    # What follows is done inside the keeper's turn.

    async def autostart(self) -> None:
        """Start the queue if that is wanted and possible."""
        book = await self._keeper.fresh()
        is_possible = self._now.has_engine and self._now.state == State.IDLE and not self._now.is_kernel_taken
        if not (book.flags.autostart and is_possible and len(book.line)):
            return
        if self._now.has_kernel and not self._now.holds_kernel:
            self._hold.reserve_for(self.autostart)
        else:
            await self._start(self._begin_by_itself)

    async def advance(self, report: PlanReport) -> None:
        """File what has ended, and begin the next item, in one change."""
        if not report.was_begun:
            await self._give_back_or_file(report)
            return
        environment_id = self._now.environment_id
        may_go_on = self._now.state in RUNNING
        step = await self._keeper.alter(
            lambda book: deciding.advance(
                book, report, environment_id, may_go_on=may_go_on, pause_pending=self._now.pause_pending
            )
        )
        if step.filed is None:
            log.info("a report that is filed already", attempt=report.attempt)
            return
        self._now.pause_pending = False
        self._announcer.filed(step.filed, report, self._position_after(report))
        await self._follow(step)

    async def lose(self, exited: EnvironmentExited) -> None:
        """File the running item as failed if it ran in the environment that is gone and has sent no report."""
        book = await self._keeper.fresh()
        running = book.running
        if running is None or running.environment_id != exited.environment_id:
            return
        report = deciding.lost(running, exited, self._now.runs("active"))
        if await self._file_last(report):
            log.error("the running plan was lost", item_uid=report.item_uid, reason=exited.msg)

    def order_again(self, running: Running) -> None:
        """Tell the environment to run an item which it may have been told before.

        What it has begun it goes on with, and what has ended it reports again. What it has not heard of is checked.
        """

        async def begin(error: SkybusError) -> None:
            if isinstance(error, NotFoundError):
                self._order_checked(running)
            else:
                await self._then_file(running, self._file_and_stop)(error)

        request = PlanRun(attempt=running.attempt, item=running.item, must_be_known=True)
        name = f"plan {running.attempt} again"
        self._orders.send(Order(name, PLAN_RUN, request, lambda: self._is_awaited(running), begin))

    async def _get_kernel(self) -> None:
        """Have the IPython kernel, if there is one, before the request is answered."""
        if self._now.has_kernel:
            await self._keeper.do(self._may_begin)
            await self._hold.reserve()

    async def _may_begin(self) -> None:
        self._now.require_ready()

    async def _start(self, begin: Callable[[str], Awaitable[deciding.Step]]) -> None:
        environment_id = self._now.require_ready()
        try:
            step = await begin(environment_id)
        except UnavailableError:
            self._in_doubt()  # an item may have begun all the same
            raise
        self._now.go(Event.START)
        await self._follow(step)

    async def _begin_as_asked(self, environment_id: str) -> deciding.Step:
        return await self._keeper.answer_once(lambda book: deciding.begin(book, environment_id))

    async def _begin_by_itself(self, environment_id: str) -> deciding.Step:
        step = await self._keeper.alter(lambda book: deciding.begin(book, environment_id))
        log.info("Queue started by autostart")
        return step

    async def _follow(self, step: deciding.Step) -> None:
        """Be what the book says: running the next item, or idle."""
        if step.next:
            self._has_begun(step.next)
        elif self._now.state in RUNNING:
            self._now.pause_pending = False
            if step.why:
                log.info("Queue stopped", reason=step.why)
            self._hold.finish(self.autostart)
        await self.autostart()

    async def _execute(self, item: Item, told: Callable[[Book], R]) -> R:
        environment_id = self._now.require_ready()
        if item["item_type"] != PLAN:
            await self._keeper.answer_once(lambda book: book.set_flags(autostart=False), told)
            return told(self._keeper.book)
        try:
            running = await self._keeper.answer_once(lambda book: book.start_past_queue(item, environment_id), told)
        except UnavailableError:
            self._in_doubt()  # it may have begun all the same
            raise
        answer = told(self._keeper.book)
        self._now.go(Event.START)
        self._has_begun(running)
        return answer

    def _has_begun(self, running: Running) -> None:
        self._now.go(Event.RUN)
        self._announcer.begun(running)
        self._order_checked(running)

    def _order_checked(self, running: Running) -> None:
        check = Check(lambda: self._rights.require(running.item), self._then_file(running, self.advance))
        request = PlanRun(attempt=running.attempt, item=running.item)

        async def refused(error: SkybusError) -> None:
            is_occupied = isinstance(error, WrongStateError)  # any other error is about this item
            file = self._give_back_or_file if is_occupied else self._file_and_stop
            await self._then_file(running, file)(error)

        order = Order(f"plan {running.attempt}", PLAN_RUN, request, lambda: self._is_awaited(running), refused)
        self._orders.send(order, check)

    def _then_file(
        self, running: Running, file: Callable[[PlanReport], Awaitable[None]]
    ) -> Callable[[SkybusError], Awaitable[None]]:
        async def file_failed(error: SkybusError) -> None:
            report = deciding.failed(running, f"Failed to start the plan: {error.message}")
            await self._keeper.do(lambda: file(report))

        return file_failed

    async def _file_and_stop(self, report: PlanReport) -> None:
        """File an item that the environment will not run: the next would fare alike, so nothing follows in any mode."""
        if await self._file_last(report):
            log.error("the environment refuses a plan", item_uid=report.item_uid, reason=report.msg)
            await self._follow(deciding.Step(why="the environment refuses the plan"))

    async def _give_back_or_file(self, report: PlanReport) -> None:
        """Put an item back of which nothing has run. One that was executed past the queue has no place there."""
        running = (await self._keeper.fresh()).running
        if running and running.immediate:
            await self._file_and_stop(report)
            return
        why = f"the environment was not free for the next plan: {report.msg}"
        item = await self._keeper.alter(lambda book: deciding.give_back(book, report.attempt, why))
        if item:
            self._announcer.returned(item, report.msg)
            await self._follow(deciding.Step(why=why))

    async def _file_last(self, report: PlanReport) -> bool:
        """File an attempt after which nothing can follow; returns whether it was not filed before."""
        filed = await self._keeper.alter(lambda book: deciding.file_and_stop(book, report))
        if filed:
            self._announcer.filed(filed, report, self._position_after(report))
        return filed is not None

    def _position_after(self, report: PlanReport) -> int | None:
        """Where an item that has been filed is in the queue, if it is to run again."""
        line, uid = self._keeper.book.line, uid_after(report.attempt)
        return line.index(uid) if uid in line else None

    def _is_awaited(self, running: Running) -> bool:
        current = self._keeper.last.running
        return current is not None and current.attempt == running.attempt and self._now.environment_id is not None
