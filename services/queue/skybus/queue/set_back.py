"""When Redis comes back with an older queue: what was done since is filed, what runs is taken up, people are told.

The witness (witness.py) knows how far the book was. The worker's reports are kept for 30 days in `LIFE_{inst}`: those
of items that wait again show that they were run. What was added, moved or removed since is lost, and nobody can know
it: so the queue starts only when a person has looked at it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from skybus.bus.api.health import Absence
from skybus.bus.api.internal import PLAN_SHOW, EnvironmentExited, EnvironmentState, LifeReport, PlanReport
from skybus.bus.connection import Bus
from skybus.bus.messages import Empty
from skybus.queue import deciding
from skybus.queue.book import Book
from skybus.queue.keeper import Keeper
from skybus.queue.records import Running
from skybus.queue.reports import Reports
from skybus.queue.store import Store
from skybus.queue.witness import Witness

log = structlog.get_logger()

CLOCKS_DIFFER = 300.0
"""Seconds before the end of the last filed item from which on reports are read again."""


class SetBack:
    """Looks once, after a start, whether the book is as far as it was known to be."""

    def __init__(self, bus: Bus, store: Store, keeper: Keeper, reports: Reports, witness: Witness) -> None:
        self._bus = bus
        self._store = store
        self._keeper = keeper
        self._reports = reports
        self._witness = witness
        self._found = 0

    def found(self, revision: int) -> None:
        """Take note of the revision that was there when we took over."""
        self._found = revision

    async def settle(self, environment: EnvironmentState | None) -> None:
        """Bring an older book as near to now as can be.

        Raises:
            UnavailableError: it cannot be done now.
        """
        if self._witness.is_heard:
            return
        known = await self._witness.last()
        if known > self._found:
            await self._settle(known, environment)
        self._witness.is_heard = True

    async def _settle(self, known: int, environment: EnvironmentState | None) -> None:
        running = await self._what_runs(environment)
        reports = await self._reports.since(await self._last_filed())
        why = (
            f"Redis holds an older queue: revision {self._found}, and {known} was known. What was added, moved or "
            "removed since is lost; look at queue and history, then start the queue"
        )
        doubt = Absence(why=why, since=time.time())
        await self._keeper.do(lambda: self._keeper.alter(lambda book: catch_up(book, reports, running, doubt)))
        log.error("Redis holds an older queue than was known", revision=self._found, known=known)

    async def _what_runs(self, environment: EnvironmentState | None) -> Running | None:
        if environment is None or environment.attempt is None:
            return None
        shown = await self._bus.call(PLAN_SHOW, Empty())
        if shown.item is None:
            return None
        return Running(
            item=shown.item,
            attempt=shown.attempt,
            environment_id=environment.environment_id,
            time_start=shown.time_start,
        )

    async def _last_filed(self) -> float:
        size = (await self._keeper.do(self._keeper.fresh)).history_size
        newest = await self._store.history(size - 1, 1) if size else []
        last = newest[0]["result"].get("time_stop") if newest else None  # some were imported
        return last - CLOCKS_DIFFER if last else 0.0


def catch_up(book: Book, reports: Sequence[LifeReport], running: Running | None, doubt: Absence) -> None:
    """Bring an older book as near to now as can be.

    Args:
        book: is changed.
        reports: what the worker has told since the book was like this, and maybe before.
        running: what the environment runs now.
        doubt: what people are told until they start the queue.
    """
    ended = set[str]()
    for report in reports:
        match report:
            case PlanReport(was_begun=False):
                ended.add(report.attempt)
                book.give_back(report.attempt)
            case PlanReport():
                ended.add(report.attempt)
                _file(book, report)
            case EnvironmentExited() if book.running and book.running.environment_id == report.environment_id:
                book.file(deciding.lost(book.running, report), was_lost=True)
    if running and running.attempt not in ended:
        _end_former(book, running.attempt)
        book.take_up(running)
    book.set_flags(autostart=False, stop_pending=book.running is not None, doubt=doubt)
    book.renew_uids()


def _file(book: Book, report: PlanReport) -> None:
    if report.item_uid in book.line:
        _end_former(book, report.attempt)
        book.take_up(_attempt_of(book, report))
    book.file(report)


def _attempt_of(book: Book, report: PlanReport) -> Running:
    return Running(
        item=book.line.item(report.item_uid),
        attempt=report.attempt,
        environment_id=report.environment_id,
        time_start=report.time_start,
    )


def _end_former(book: Book, attempt: str) -> None:
    """File what cannot run any more since something else does, and of which there is no report."""
    if book.running and book.running.attempt != attempt:
        lost = deciding.failed(book.running, "How the plan ended was lost: Redis was restored from an older copy")
        book.file(lost.model_copy(update={"exit_status": "unknown"}))
