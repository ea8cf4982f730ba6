"""The book: what becomes of items, running and history."""

import pytest

from skybus.bus.api.internal import FunctionTask, PlanReport, TaskReport, TaskRun
from skybus.bus.api.queue import ItemMove, ItemMoveBatch, QueueMode
from skybus.bus.errors import ConflictError, InvalidError
from skybus.queue import moves
from skybus.queue.book import Book
from skybus.queue.records import RunningTask


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


def task(uid: str, *, run_in_background: bool = False) -> RunningTask:
    order = TaskRun(task_uid=uid, task=FunctionTask(name="f"), run_in_background=run_in_background)
    return RunningTask(order=order, environment_id="e", time_start=1)


def task_report(uid: str) -> TaskReport:
    return TaskReport(
        environment_id="e",
        task_uid=uid,
        success=True,
        return_value=2**70,
        run_in_background=False,
        time_start=1,
        time_stop=2,
    )


def test_a_task_is_filed_once_and_its_result_expires(book: Book) -> None:
    book.begin_task(task("t"))
    before = book.flags.task_results_uid
    book.journal.clear()
    assert book.file_task(task_report("t"), kept=7) is not None
    assert book.tasks == {}
    assert book.flags.task_results_uid != before
    (kept,) = [command for command in book.journal if command[1] == "task:t"]
    assert kept[-2:] == ("EX", 7)
    assert str(2**70).encode() in kept[2]
    book.journal.clear()
    assert book.file_task(task_report("t"), kept=7) is None
    assert book.journal == []


def test_a_new_stack_begins_without_autostart_and_pending_stop(book: Book) -> None:
    book.belong_to("first")
    book.set_flags(autostart=True, stop_pending=True)
    book.belong_to("first")
    book.belong_to("")
    assert (book.flags.autostart, book.flags.stop_pending) == (True, True)
    book.belong_to("second")
    assert (book.flags.autostart, book.flags.stop_pending) == (False, False)
