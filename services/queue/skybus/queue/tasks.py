"""Tasks: scripts and functions that the environment runs besides plans, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from skybus.bus.api.internal import TASK_RUN, EnvironmentExited, ScriptTask, TaskReport, TaskRun
from skybus.bus.api.tasks import TaskResult, TaskStarted, TaskStatus
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, UnavailableError, WrongStateError
from skybus.queue.announcer import Announcer
from skybus.queue.answer_room import forgotten
from skybus.queue.book import Book
from skybus.queue.keeper import Keeper
from skybus.queue.once import current_key
from skybus.queue.orders import Order, Orders
from skybus.queue.records import RunningTask
from skybus.queue.runner import Runner
from skybus.queue.situation import Situation
from skybus.queue.states import Event, State
from skybus.queue.store import Store

log = structlog.get_logger()

R = TypeVar("R", bound=TaskStarted)


class Tasks:
    """Starts tasks and keeps what came of them.

    Args:
        in_doubt: the worker must be asked what there is.
        kept: seconds that the result of a task is kept.
    """

    def __init__(
        self,
        keeper: Keeper,
        store: Store,
        bus: Bus,
        situation: Situation,
        announcer: Announcer,
        orders: Orders,
        runner: Runner,
        in_doubt: Callable[[], None],
        kept: int,
    ) -> None:
        self._keeper = keeper
        self._store = store
        self._bus = bus
        self._now = situation
        self._announcer = announcer
        self._orders = orders
        self._runner = runner
        self._in_doubt = in_doubt
        self._kept = kept

    async def start(self, order: TaskRun, reply: R) -> R:
        """Have a task begun; it is stored before the environment hears of it.

        Raises:
            WrongStateError: it cannot begin now.
        """
        try:
            await self._keeper.do(lambda: self._begin(order, reply))
        except UnavailableError:
            self._in_doubt()  # it may be stored all the same
            raise
        await self._confirm(order)
        return reply

    async def statuses(self, uids: list[str]) -> dict[str, TaskStatus]:
        """The status of each of some tasks."""
        return {result.task_uid: result.status for result in await self._keeper.do(lambda: self._look_up(uids))}

    async def result(self, uid: str) -> TaskResult:
        """What came of a task, as far as it is known."""
        return (await self._keeper.do(lambda: self._look_up([uid])))[0]

    def changes_catalogue(self, report: TaskReport) -> bool:
        """Whether a task that has ended has described plans and devices anew."""
        task = self._keeper.last.tasks.get(report.task_uid)
        return task is not None and isinstance(task.order.task, ScriptTask) and task.order.task.update_lists

    # What follows is done inside the keeper's turn.

    async def file(self, report: TaskReport) -> None:
        """Keep what came of a task; after one in the foreground the manager is idle again."""
        task = await self._keep(report)
        if task is not None:
            await self._is_over(task)

    async def lose(self, exited: EnvironmentExited) -> None:
        """Keep what came of the tasks of an environment that is gone and has sent no report of them."""
        book = await self._keeper.fresh()
        for task in [task for task in book.tasks.values() if task.environment_id == exited.environment_id]:
            await self._keep(_lost(task, exited.msg, exited.last_words))

    def order_again(self, book: Book, environment_id: str) -> None:
        """Tell an environment of its tasks, of which it may not have heard; it runs each once."""
        for task in book.tasks.values():
            if task.environment_id == environment_id:
                self._order(task)

    async def _begin(self, order: TaskRun, reply: TaskStarted) -> None:
        task = self._task(order)
        await self._keeper.answer_once(lambda book: book.begin_task(task), lambda _: reply)
        if task.is_foreground:
            self._now.go(Event.TASK)
        self._announcer.task_begun(task)

    def _task(self, order: TaskRun) -> RunningTask:
        environment_id = self._now.require_open("RE Worker environment is not open")
        if not order.run_in_background:
            self._require_idle()
        return RunningTask(order=order, environment_id=environment_id, time_start=time.time())

    def _require_idle(self) -> None:
        if self._now.state != State.IDLE:
            raise WrongStateError(
                f"Failed to start the task: RE Manager must be in idle state. Current state: '{self._now.state}'"
            )
        if self._now.is_kernel_taken:
            raise WrongStateError("Failed to start the task: IPython kernel (RE Worker) is busy.")

    async def _confirm(self, order: TaskRun) -> None:
        """Tell the environment; what it refuses was never begun."""
        key = current_key()
        try:
            await self._bus.call(TASK_RUN, order)
        except UnavailableError as error:
            log.warning("the environment has not confirmed a task", task_uid=order.task_uid, reason=error.message)
            await self._keeper.do(lambda: self._have_begun(order))
        except SkybusError:
            await self._keeper.do(lambda: self._withdraw(order.task_uid, key))
            raise

    async def _have_begun(self, order: TaskRun) -> None:
        task = (await self._keeper.fresh()).tasks.get(order.task_uid)
        if task is not None:
            self._order(task)

    def _order(self, task: RunningTask) -> None:
        async def refused(error: SkybusError) -> None:
            report = _lost(task, f"Failed to start the task: {error.message}")
            await self._keeper.do(lambda: self.file(report))

        def is_awaited() -> bool:
            return task.uid in self._keeper.last.tasks

        self._orders.send(Order(f"task {task.uid}", TASK_RUN, task.order, is_awaited, refused))

    async def _withdraw(self, uid: str, key: str) -> None:
        def alter(book: Book) -> None:
            book.withdraw_task(uid)
            book.journal.append(forgotten(key))

        task = (await self._keeper.fresh()).tasks.get(uid)
        if task is not None:
            await self._keeper.alter(alter)
            await self._is_over(task)

    async def _keep(self, report: TaskReport) -> RunningTask | None:
        task = await self._keeper.alter(lambda book: book.file_task(report, self._kept))
        if task is None:
            log.info("a report of a task that is filed already", task_uid=report.task_uid)
        else:
            self._announcer.task_done(report)
        return task

    async def _is_over(self, task: RunningTask) -> None:
        if task.is_foreground and self._now.state == State.EXECUTING_TASK:
            self._now.go(Event.FINISH)
        await self._runner.autostart()

    async def _look_up(self, uids: list[str]) -> list[TaskResult]:
        book = await self._keeper.fresh()
        kept = await self._store.task_results(uids)
        return [_known(book, uid, result) for uid, result in zip(uids, kept, strict=True)]


def _known(book: Book, uid: str, result: dict[str, Any] | None) -> TaskResult:
    if uid in book.tasks:
        return TaskResult(task_uid=uid, status="running", result=book.tasks[uid].shown())
    if result is None:
        return TaskResult(task_uid=uid, status="not_found")
    return TaskResult(task_uid=uid, status="completed", result=result)


def _lost(task: RunningTask, why: str, traceback: str = "") -> TaskReport:
    """The report of a task that can no longer report itself."""
    return TaskReport(
        environment_id=task.environment_id,
        task_uid=task.uid,
        success=False,
        msg=why,
        traceback=traceback,
        run_in_background=task.order.run_in_background,
        time_start=task.time_start,
        time_stop=time.time(),
    )
