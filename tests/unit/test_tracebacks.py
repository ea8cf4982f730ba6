"""An error that Python cannot show is told nonetheless."""

import io

import pytest
import structlog

from skybus.bus import logs
from skybus.bus.tracebacks import format_error, traceback_of
from skybus.worker.environment.failures import full_traceback, reason
from skybus.worker.environment.startup import StartupError, StartupSource, load_startup


class OddTracebackError(Exception):
    @property
    def __traceback__(self):
        raise ValueError("there is none")


class ExitingTextError(Exception):
    def __str__(self):
        raise SystemExit


class UnreadableExitError(SystemExit):
    def __repr__(self):
        raise SystemExit


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def bad_macro() -> SyntaxError:
    return SyntaxError("bad macro", ("macro.txt", 3, "5", "mv x 3"))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (bad_macro(), "bad macro"),
        (OddTracebackError("bad macro"), "OddTracebackError: bad macro"),
        (ExitingTextError(), "ExitingTextError"),
        (UnreadableExitError("bad macro"), "UnreadableExitError: bad macro"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_user_code_has_a_reason_and_a_traceback_in_any_case(error, text):
    caught = raised(error)
    assert reason(caught)
    assert text in full_traceback(caught)
    assert "in raised" in full_traceback(caught)


def test_an_error_is_shown_with_a_cause_that_python_cannot_show():
    error = ValueError("the macro could not be read")
    error.__cause__ = bad_macro()
    text = format_error(error, traceback_of(raised(error)))
    assert "ValueError: the macro could not be read\n" in text
    assert "SyntaxError: bad macro (macro.txt, line 3)\n" in text


def test_startup_code_says_what_has_failed_although_python_cannot_show_it(tmp_path):
    (tmp_path / "00.py").write_text("raise SyntaxError('bad macro', ('macro.txt', 3, '5', 'mv x 3'))")
    with pytest.raises(StartupError, match="bad macro") as caught:
        load_startup(StartupSource(directory=tmp_path))
    assert "00.py" in caught.value.traceback


def test_a_log_line_carries_an_error_that_python_cannot_show(monkeypatch):
    output = io.StringIO()
    monkeypatch.setattr(logs.lines, "output", output)
    before = structlog.get_config()
    logs.start_logging("test")
    try:
        structlog.get_logger().error("it has failed", exc_info=raised(bad_macro()))
    finally:
        structlog.configure(**before)
    assert "it has failed" in output.getvalue()
    assert "SyntaxError: bad macro" in output.getvalue()
