"""A task ends with a report that can be sent, whatever its code does."""

from typing import Any

import numpy as np
import pytest

from skybus.bus.api.internal import FunctionTask, TaskReport, TaskRun
from skybus.bus.errors import InvalidError, NotFoundError
from skybus.bus.messages import decode, encode
from skybus.worker.environment import ended_tasks
from skybus.worker.environment.metadata import select
from skybus.worker.environment.task import Task
from skybus.worker.environment.task_work import call_function


def report_of(work: Any, limit: int = 1500) -> TaskReport:
    request = TaskRun(task_uid="t", task=FunctionTask(name="f"), run_in_background=True)
    return decode(TaskReport, encode(Task("e", request, work, limit).run()))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_result_comes_as_json_has_it():
    report = report_of(lambda: {"a": (1, 2.5, 1 << 70), 3: None})

    assert (report.success, report.msg, report.traceback) == (True, "", "")
    assert report.return_value == {"a": [1, 2.5, 1 << 70], "3": None}
    assert report.time_stop >= report.time_start


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.arange(3), "Object of type ndarray is not JSON serializable"),
        ("x" * 2000, "too large to be sent: 2,002 bytes"),
        (nested(190), "recursion"),
    ],
    ids=["array", "large", "deep"],
)
def test_a_result_that_cannot_be_sent_is_reported_in_words(value, reason):
    report = report_of(lambda: value)

    assert (report.success, report.return_value) == (False, None)
    assert reason in report.msg
    assert report.traceback.startswith("Traceback")


class SpeechlessError(Exception):
    """Has nothing to say."""

    def __str__(self) -> str:
        raise RuntimeError


class SilentExit(Exception):  # noqa: N818
    """Ends the process of whoever asks what it says."""

    def __str__(self) -> str:
        raise SystemExit


class WithoutTraceback(Exception):  # noqa: N818
    """Cannot say where it was raised."""

    @property
    def __traceback__(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise RuntimeError("no traceback")

    @__traceback__.setter
    def __traceback__(self, _value: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "SystemExit(3)"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("half: \udcff"), "half: ?"),
        (ValueError("x" * 10_000_000), "xxx"),
        (SpeechlessError(), "SpeechlessError"),
        (SilentExit(), "SilentExit"),
        (WithoutTraceback("lost"), "lost"),
        (SyntaxError("bad macro", ("macro.txt", 3, "5", "mv x 3")), "bad macro (macro.txt, line 3)"),
    ],
    ids=["exit", "interrupt", "surrogate", "long", "speechless", "silent exit", "no traceback", "bad offset"],
)
def test_whatever_a_function_raises_is_reported(error, reason):
    def fail():
        raise error

    report = report_of(fail)

    assert not report.success
    assert report.msg.startswith("Error occurred while executing 'Execute function': ")
    assert reason in report.msg
    assert "raise error" in report.traceback or len(report.traceback) > 100_000
    assert len(encode(report)) < 500_000


def test_the_traceback_of_an_error_that_python_cannot_write_has_its_cause():
    def fail():
        try:
            int("five")
        except ValueError as error:
            raise SyntaxError("bad macro", ("macro.txt", 3, "5", "mv x 3")) from error

    lines = report_of(fail).traceback.splitlines()

    assert lines.index("ValueError: invalid literal for int() with base 10: 'five'") < len(lines) - 1
    assert lines[-1] == "SyntaxError: bad macro (macro.txt, line 3)"


def test_functions_are_found_by_name_and_plans_are_none():
    def plan():
        yield

    namespace = {"sum": lambda a, b: a + b, "number": 5, "plan": plan}

    assert call_function(FunctionTask(name="sum", args=[1], kwargs={"b": 2}), namespace) == 3
    with pytest.raises(NotFoundError, match="Function 'none' is not found in the worker namespace"):
        call_function(FunctionTask(name="none"), namespace)
    with pytest.raises(InvalidError, match="not callable"):
        call_function(FunctionTask(name="number"), namespace)
    with pytest.raises(InvalidError, match="generator function"):
        call_function(FunctionTask(name="plan"), namespace)


def test_a_result_may_be_as_deep_as_can_be_read():
    assert report_of(lambda: nested(180)).return_value == nested(180)


def test_tracebacks_begin_in_the_users_code():
    def fail():
        int("five")

    first = report_of(fail).traceback.splitlines()[1]
    assert __file__ in first


def test_ended_tasks_are_remembered_longer_than_their_reports(monkeypatch):
    monkeypatch.setattr(ended_tasks, "REPORT_BYTES", 1000)
    ended = ended_tasks.EndedTasks()
    for number in range(10):
        ended.add(report_of(lambda: "x" * 300).model_copy(update={"task_uid": str(number)}))

    left = [ended.get(str(number)) for number in range(10)]
    assert [bool(task and task.report) for task in left] == [False] * 8 + [True] * 2
    assert all(left)
    assert ended.get("other") is None


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["/"], {"a": 1, "b": {"c": 2, "d": {"e": 3}}}),
        (["/a", "/b/d/"], {"a": 1, "b": {"d": {"e": 3}}}),
        (["/b"], {"b": {"c": 2, "d": {"e": 3}}}),
        (["/none", "/a/b"], {}),
    ],
)
def test_metadata_is_shown_below_the_permitted_paths(paths, shown):
    assert select({"a": 1, "b": {"c": 2, "d": {"e": 3}}}, paths) == shown
