"""An older book is brought as near to now as the worker's reports allow."""

from __future__ import annotations

import uuid

import orjson

from skybus.bus.api.health import Absence
from skybus.bus.api.internal import EnvironmentExited, PlanReport
from skybus.bus.api.items import Item
from skybus.queue.book import Book
from skybus.queue.records import Running
from skybus.queue.set_back import catch_up

DOUBT = Absence(why="it is older", since=1.0)


def plan(uid: str) -> Item:
    return {"item_type": "plan", "name": "count", "item_uid": uid}


def older(running: str = "") -> Book:
    """A queue of a, b and c, before which another item may run."""
    book = Book()
    book.insert([plan(uid) for uid in "abc"])
    if running:
        book.take_up(attempt(running))
    book.set_flags(autostart=True)
    return book


def attempt(uid: str) -> Running:
    return Running(item=plan(uid), attempt=f"attempt at {uid}", environment_id="env", time_start=1.0)


def ended(uid: str, exit_status: str = "completed") -> PlanReport:
    return PlanReport.model_validate(
        {
            "environment_id": "env",
            "attempt": f"attempt at {uid}",
            "item_uid": uid,
            "exit_status": exit_status,
            "time_start": 1.0,
            "time_stop": 2.0,
        }
    )


def caught_up(book: Book, *reports: PlanReport | EnvironmentExited, running: str = "") -> tuple[str, str, str]:
    """What waits, what runs, and in the order of filing how each ended."""
    begin = len(book.journal)
    catch_up(book, reports, attempt(running) if running else None, DOUBT)
    assert book.flags.doubt == DOUBT
    assert not book.flags.autostart
    assert book.flags.stop_pending == (book.running is not None)
    filed = [orjson.loads(words[2]) for words in book.journal[begin:] if words[1] == "history"]
    names = [item["item_uid"] for item in book.line]
    return (
        "".join(name if len(name) == 1 else "+" for name in names),
        book.running.item["item_uid"] if book.running else "",
        " ".join(f"{item['item_uid']}:{item['result']['exit_status']}" for item in filed),
    )


def test_what_waits_although_it_was_run_is_filed() -> None:
    assert caught_up(older(), ended("a"), ended("b")) == ("c", "", "a:completed b:completed")


def test_what_was_to_be_run_again_waits_under_another_uid() -> None:
    assert caught_up(older(), ended("a", "failed")) == ("+bc", "", "a:failed")


def test_what_was_run_again_is_not_run_once_more() -> None:
    again = str(uuid.uuid5(uuid.NAMESPACE_OID, "attempt at a"))
    waiting, running, filed = caught_up(older(), ended("a", "failed"), ended(again))
    assert (waiting, running) == ("bc", "")
    assert filed == f"a:failed {again}:completed"


def test_what_runs_is_taken_out_of_the_queue() -> None:
    assert caught_up(older(), ended("a"), running="b") == ("c", "b", "a:completed")


def test_what_runs_and_was_added_later_is_taken_up() -> None:
    assert caught_up(older(), running="x") == ("abc", "x", "")


def test_what_ran_then_ends_as_its_report_says() -> None:
    assert caught_up(older("x"), ended("x"), ended("a"), running="b") == ("c", "b", "x:completed a:completed")


def test_what_ran_then_and_has_no_report_ends_as_unknown_when_something_else_runs() -> None:
    assert caught_up(older("x"), running="a") == ("bc", "a", "x:unknown")


def test_what_ran_then_and_died_with_its_environment_is_to_be_run_again() -> None:
    exited = EnvironmentExited(environment_id="env", msg="killed")
    assert caught_up(older("x"), exited) == ("+abc", "", "x:failed")


def test_what_has_ended_since_it_was_asked_what_runs_is_not_taken_up() -> None:
    assert caught_up(older(), ended("a"), running="a") == ("bc", "", "a:completed")


def test_reports_of_what_was_filed_long_ago_change_nothing() -> None:
    assert caught_up(older("x"), ended("old"), running="x") == ("abc", "x", "")
