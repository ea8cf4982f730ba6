"""What follows when a plan has ended or the queue is started: decided on the book, without doing anything else."""

from __future__ import annotations

import time
from collections.abc import Sequence

from skybus.bus.api.engine import Run
from skybus.bus.api.health import Absence
from skybus.bus.api.internal import EnvironmentExited, PlanReport
from skybus.bus.api.items import PLAN, Item
from skybus.bus.messages import Message
from skybus.queue.book import Book
from skybus.queue.records import Running


class Step(Message):
    """What a change of the book has brought: what was filed, what begins."""

    filed: Item | None = None
    next: Running | None = None
    why: str = ""
    """Why nothing begins; empty after an item that was executed past the queue."""


def begin(book: Book, environment_id: str) -> Step:
    """Start the queue with its first item, if there is one; a stop or a doubt from before does not count."""
    book.set_flags(stop_pending=False, doubt=None, stopped=None)
    return _begin_next(book, environment_id, pause_pending=False)


def advance(
    book: Book, report: PlanReport, environment_id: str | None, *, may_go_on: bool, pause_pending: bool
) -> Step:
    """File what has ended, and begin the next item if there is one to begin.

    Args:
        book: is changed.
        report: of the attempt that has ended.
        environment_id: of the open environment, if there is one.
        may_go_on: whether the manager is running the queue.
        pause_pending: whether a pause was asked for and has not come.
    """
    running, filed = book.running, book.file(report)
    if filed is None:
        return Step()
    is_immediate = running is not None and running.immediate
    why = "" if may_go_on else "the manager is not running the queue"
    if not book.is_done(report) or report.exit_status == "stopped":
        book.set_flags(autostart=False)
        why = f"the plan ended as {report.exit_status}"
    if report.exit_status == "unknown":
        why = "somebody works with the Run Engine by hand"
    if why or is_immediate or environment_id is None:
        book.set_flags(stop_pending=False, autostart=book.flags.autostart and not book.flags.stop_pending)
        return Step(filed=filed, why="" if is_immediate else why or "there is no environment")
    step = _begin_next(book, environment_id, pause_pending=pause_pending or report.pause_pending)
    return step.model_copy(update={"filed": filed})


def file_and_stop(book: Book, report: PlanReport) -> Item | None:
    """File an attempt after which nothing can follow."""
    filed = book.file(report, was_lost=True)
    book.set_flags(autostart=False, stop_pending=False)
    return filed


def give_back(book: Book, attempt: str, why: str) -> Item | None:
    """Put an item back that the environment has not begun, and stop: the next one would fare alike."""
    item = book.give_back(attempt)
    if item:
        book.set_flags(autostart=False, stop_pending=False, stopped=Absence(why=why, since=time.time()))
    return item


def failed(running: Running, why: str, runs: Sequence[Run] = (), traceback: str = "") -> PlanReport:
    """The report of an attempt that can no longer report itself."""
    return PlanReport(
        environment_id=running.environment_id,
        attempt=running.attempt,
        item_uid=running.item["item_uid"],
        exit_status="failed",
        run_uids=[run.uid for run in runs],
        scan_ids=[run.scan_id for run in runs],
        time_start=running.time_start,
        time_stop=time.time(),
        msg=why,
        traceback=traceback,
    )


def lost(running: Running, exited: EnvironmentExited, seen: Sequence[Run] = ()) -> PlanReport:
    """The report of an attempt whose environment is gone.

    Args:
        running: the attempt.
        exited: what is known of the end of the environment.
        seen: runs of the attempt that the environment had told of; it may have been about to tell of more, or may not
            have been able to write them down.
    """
    noted = exited.runs if exited.attempt == running.attempt else []
    return failed(running, exited.msg, max(noted, seen, key=len), exited.last_words)


def _begin_next(book: Book, environment_id: str, *, pause_pending: bool) -> Step:
    if book.flags.stop_pending:
        book.set_flags(stop_pending=False, autostart=False)
        return Step(why="a stop was requested")
    if not len(book.line):
        return Step(why="the queue is empty")
    if pause_pending:
        return Step(why="a pause was requested")
    front = book.line.item(book.line.uid_at("front"))
    if front["item_type"] != PLAN:
        book.drop_front()
        book.set_flags(autostart=False)
        return Step(why="the queue has reached a queue_stop")
    return Step(next=book.start_front(environment_id))
