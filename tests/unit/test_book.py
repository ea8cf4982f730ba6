"""The book: what becomes of items, running and history."""

import pytest

from skybus.bus.api.internal import PlanReport
from skybus.bus.api.queue import ItemMove, ItemMoveBatch, QueueMode
from skybus.bus.errors import ConflictError, InvalidError
from skybus.queue import moves
from skybus.queue.book import Book


def plan(uid: str) -> dict:
    return {"item_type": "plan", "name": "count", "item_uid": uid}


def order(book: Book) -> str:
    return "".join(item["item_uid"][0] for item in book.line)


def report(book: Book, exit_status: str) -> PlanReport:
    assert book.running
    return PlanReport(
        environment_id="e",
        attempt=book.running.attempt,
        item_uid="a",
        exit_status=exit_status,
        time_start=1,
        time_stop=2,
    )


@pytest.fixture
def book() -> Book:
    book = Book()
    book.insert([plan(uid) for uid in "abcd"])
    return book


@pytest.fixture
def running(book: Book) -> Book:
    book.start_front("e")
    return book


@pytest.mark.parametrize(
    ("status", "mode", "uids_left"),
    [
        ("completed", QueueMode(), 3),
        ("stopped", QueueMode(), 3),
        ("failed", QueueMode(ignore_failures=True), 3),
        ("failed", QueueMode(), 4),
        ("aborted", QueueMode(), 4),
        ("halted", QueueMode(ignore_failures=True), 4),
        ("completed", QueueMode(loop=True), 4),
        ("stopped", QueueMode(loop=True), 4),
    ],
)
def test_an_ended_item_is_in_history_and_where_its_status_sends_it(running: Book, status, mode, uids_left) -> None:
    running.set_flags(mode=mode)
    filed = running.file(report(running, status))
    assert filed is not None
    assert filed["result"]["exit_status"] == status
    assert (running.running, running.history_size, len(running.line)) == (None, 1, uids_left)
    back = running.line.item(running.line.uid_at("back" if mode.loop else "front"))
    if uids_left == 4:
        assert back["item_uid"] not in "abcd"
        assert back["name"] == "count"


def test_a_report_of_another_attempt_changes_nothing(running: Book) -> None:
    first = report(running, "completed")
    running.file(first)
    running.start_front("e")
    running.journal.clear()
    assert running.file(first) is None
    assert running.running is not None
    assert running.journal == []


def test_an_item_executed_past_the_queue_never_goes_back_there(book: Book) -> None:
    book.start_past_queue(plan("x"), "e")
    book.file(report(book, "aborted"))
    assert order(book) == "abcd"


def test_the_running_item_cannot_be_moved_or_removed(running: Book) -> None:
    with pytest.raises(ConflictError, match="currently running"):
        running.remove(["a"])
    with pytest.raises(ConflictError, match="currently running"):
        moves.move_one(running, ItemMove(uid="a", pos_dest="back"))
    with pytest.raises(InvalidError, match="before a currently running plan"):
        running.insert([plan("x")], before_uid="a")
    running.insert([plan("x")], after_uid="a")
    assert order(running) == "xbcd"


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ({"uid": "a", "pos_dest": "back"}, "bcda"),
        ({"uid": "d", "pos_dest": "front"}, "dabc"),
        ({"pos": 0, "pos_dest": 2}, "bcad"),
        ({"pos": -1, "pos_dest": 1}, "adbc"),
        ({"uid": "a", "after_uid": "c"}, "bcad"),
        ({"uid": "d", "before_uid": "b"}, "adbc"),
        ({"uid": "b", "before_uid": "b"}, "abcd"),
        ({"uid": "b", "after_uid": "a"}, "abcd"),
    ],
)
def test_an_item_moves_where_it_is_sent(book: Book, move: dict, expected: str) -> None:
    moves.move_one(book, ItemMove(**move))
    assert order(book) == expected


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ({"uids": ["d", "a"], "pos_dest": "front"}, "dabc"),
        ({"uids": ["d", "a"], "pos_dest": "back", "reorder": True}, "bcad"),
        ({"uids": ["a", "d"], "after_uid": "b"}, "badc"),
        ({"uids": ["c", "a"], "before_uid": "d"}, "bcad"),
        ({"uids": [], "pos_dest": "back"}, "abcd"),
    ],
)
def test_a_batch_moves_together(book: Book, move: dict, expected: str) -> None:
    moves.move_many(book, ItemMoveBatch(**move))
    assert order(book) == expected


def test_moving_before_an_item_of_the_batch_is_refused(book: Book) -> None:
    with pytest.raises(InvalidError, match="'b' is in the batch"):
        moves.move_many(book, ItemMoveBatch(uids=["a", "b"], before_uid="b"))
