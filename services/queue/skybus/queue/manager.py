"""The manager: puts its parts together, and hands each report and each answer of the worker to the one it is for.

All that changes the state is a piece of work for the keeper, so one thing happens at a time. What the worker is asked
for is asked outside of that: its answer, like its reports, is a new piece of work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import (
    CATALOG_REFRESH,
    ENVIRONMENT_STATE,
    EnvironmentExited,
    EnvironmentOpened,
    EnvironmentState,
    LifeReport,
    PlanReport,
    TaskReport,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.messages import Empty, Message
from skybus.queue.announcer import Announcer
from skybus.queue.book import Book
from skybus.queue.engine_control import EngineControl
from skybus.queue.environments import Environments
from skybus.queue.keeper import Keeper
from skybus.queue.kernel_hold import KernelHold
from skybus.queue.orders import Orders
from skybus.queue.rights import Rights
from skybus.queue.runner import Runner
from skybus.queue.settings import QueueSettings
from skybus.queue.situation import Situation
from skybus.queue.states import Event, State
from skybus.queue.store import Store
from skybus.queue.tasks import Tasks

log = structlog.get_logger()


class Manager:
    """What happens with the queue of one instrument.

    Args:
        publish: sends an event by topic.
        changed: something that the status shows is different now.
        catalogue_read: auth knows the plans and devices with these uids.
        in_doubt: the worker must be asked what there is; `resume_life` is told the answer.
        settings: of the service.
    """

    def __init__(
        self,
        keeper: Keeper,
        store: Store,
        bus: Bus,
        rights: Rights,
        publish: Callable[[str, Message], None],
        changed: Callable[[], None],
        catalogue_read: Callable[[CatalogChanged], None],
        in_doubt: Callable[[], None],
        settings: QueueSettings,
    ) -> None:
        self._keeper = keeper
        self._bus = bus
        self._catalogue_read = catalogue_read
        self._in_doubt = in_doubt
        self._is_acquainted = asyncio.Event()
        self.orders = orders = Orders(bus)
        self.announcer = Announcer(publish)
        self.situation = Situation(changed)
        self.environments = Environments(keeper, bus, self.situation, self.announcer, in_doubt)
        kernel = KernelHold(keeper, bus, self.situation)
        self.runner = Runner(keeper, self.situation, self.announcer, orders, rights, in_doubt, kernel)
        self.engine = EngineControl(keeper, bus, self.situation, settings.abort_graces(), self.environments.destroy)
        self.tasks = Tasks(
            keeper,
            store,
            bus,
            self.situation,
            self.announcer,
            orders,
            self.runner,
            in_doubt,
            settings.task_result_retention,
        )

    async def handle_report(self, report: LifeReport) -> None:
        """Deal with a report; when this returns, it is stored what came of it.

        After a start it is first asked whether the environment lives: only then it is known what follows.
        """
        await self._is_acquainted.wait()
        report = await self._learn_before(report)
        try:
            await self._keeper.do(lambda: self._handle_report(report))
        except UnavailableError:
            self._in_doubt()  # it may be stored, and with it that the next item runs
            raise

    async def handle_state(self, environment: EnvironmentState) -> None:
        """Take note of what the environment says of itself."""
        await self._keeper.do(lambda: self._take_note(environment))

    async def resume_life(self, environment: EnvironmentState | None, awaited: str | None, *, is_drained: bool) -> None:
        """Go on after a start, or after a time without a bus.

        Args:
            environment: what the living environment says, or nothing if there is none.
            awaited: the environment that was open, for all that was known, before the worker was asked.
            is_drained: whether every report of the worker has been dealt with.
        """
        await self._keeper.do(lambda: self._resume_life(environment, awaited, is_drained=is_drained))
        self._is_acquainted.set()

    async def _learn_before(self, report: LifeReport) -> LifeReport:
        """An environment is open, or a script done, when what it has brought can be submitted and is in the status."""
        problem = ""
        match report:
            case EnvironmentOpened(success=True):
                problem, _ = await asyncio.gather(self._have_catalogue_read(), self._ask_environment())
            case TaskReport() if self.tasks.changes_catalogue(report):
                await asyncio.gather(self._have_catalogue_read(), self._ask_environment())
            case TaskReport():
                await self._ask_environment()
        return _with_warning(report, problem) if isinstance(report, EnvironmentOpened) and problem else report

    async def _have_catalogue_read(self) -> str:
        """Wait until auth knows plans and devices; return what people are told if it does not."""
        try:
            self._catalogue_read(await self._bus.call(CATALOG_REFRESH, Empty(), timeout=15))
        except SkybusError as error:
            log.warning("auth could not read the catalogue of the environment", reason=error.message)
            return f"plans and devices of this environment are not known yet, and plans are refused: {error.message}"
        return ""

    async def _ask_environment(self) -> None:
        """What it has pushed may not have reached us."""
        try:
            await self.handle_state(await self._bus.call(ENVIRONMENT_STATE, Empty()))
        except SkybusError as error:
            log.warning("the environment does not say how it is", reason=error.message)

    async def _handle_report(self, report: LifeReport) -> None:
        log.debug("report", kind=report.kind, environment_id=report.environment_id)
        match report:
            case PlanReport():
                await self.runner.advance(report)
            case TaskReport():
                await self.tasks.file(report)
            case EnvironmentOpened():
                self.environments.opened(report)
                await self.runner.autostart()
            case EnvironmentExited():
                await self._lose(report)
                self.environments.exited(report)

    async def _lose(self, exited: EnvironmentExited) -> None:
        await self.runner.lose(exited)
        await self.tasks.lose(exited)

    async def _take_note(self, environment: EnvironmentState) -> None:
        was_taken = self.situation.is_kernel_taken
        if not self.situation.learn(environment):
            return
        self.engine.follow(environment)
        self.situation.changed()
        if was_taken:
            await self.runner.autostart()

    async def _resume_life(
        self, environment: EnvironmentState | None, awaited: str | None, *, is_drained: bool
    ) -> None:
        if environment and self.environments.is_gone(environment):
            return
        if environment is None and is_drained and awaited:
            await self._handle_report(EnvironmentExited(environment_id=awaited))
        book = await self._keeper.fresh()
        if is_drained:
            await self._lose_former(book, environment.environment_id if environment else self.situation.environment_id)
        if environment is None:
            self._resume_without(book, is_drained=is_drained)
            return
        if self.situation.environment_id is None:
            self.environments.adopt(environment, book)
        await self._take_note(environment)
        self.environments.catch_up(environment, book)
        self._order_again(book, environment.environment_id)
        await self.runner.autostart()

    async def _lose_former(self, book: Book, environment_id: str | None) -> None:
        """File what ran in environments that nobody knows any more."""
        started_in = {task.environment_id for task in book.tasks.values()}
        if book.running:
            started_in.add(book.running.environment_id)
        for former in started_in - {environment_id}:
            await self._lose(EnvironmentExited(environment_id=former))

    def _resume_without(self, book: Book, *, is_drained: bool) -> None:
        is_settled = is_drained or (book.running is None and not book.tasks)
        if self.situation.state == State.INITIALIZING and is_settled:
            self.situation.go(Event.READY)

    def _order_again(self, book: Book, environment_id: str) -> None:
        if book.running and book.running.environment_id == environment_id:
            self.runner.order_again(book.running)
        self.tasks.order_again(book, environment_id)


def _with_warning(report: EnvironmentOpened, text: str) -> EnvironmentOpened:
    facts = report.facts and report.facts.model_copy(update={"warnings": [text, *report.facts.warnings]})
    return report.model_copy(update={"facts": facts})
