"""What users have written is shown as text, whatever it would do to a terminal, a table or a log."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest
import structlog
import typer
from rich.console import Console

from skybus.bus.api.engine import Suspended
from skybus.bus.api.health import Absence
from skybus.bus.api.history import HistoryPage
from skybus.bus.api.queue import QueuePage
from skybus.bus.logs import lines, start_logging
from skybus.cli import history_commands, queue_commands, status_command
from skybus.cli.catalog_commands import _show_skipped
from skybus.cli.doctor_command import Finding, _print
from skybus.cli.output import Output, complain, print_json
from skybus.cli.plan_output import PlanOutput
from skybus.cli.refusal import refuse
from tests.integration.bus_fixtures import STATUS

CLIPBOARD, TITLE, C1 = "\x1b]52;c;aGk=\x07", "\x1b]0;title\x1b\\", "\x9b2J"
EVIL = f"x{CLIPBOARD}{TITLE}{C1}\x1b[31mred\x1b[0m[bold]:bug:\n\r\u202e\ud800\x7f"
CARRIED = EVIL.replace("\ud800", "")
"""What the bus can carry of it."""
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(output: io.StringIO) -> Console:
    """As `make_console` makes it where people read, but without colours of its own."""
    return Console(highlight=False, markup=False, emoji=False, width=2000, file=output)


def is_text(shown: str, rows: int | None = None) -> bool:
    """Whether what is shown is text, and has so many lines."""
    assert not HARMFUL.search(shown), repr(shown)
    assert r"\x1b" in shown
    assert "[bold]" in shown
    assert ":bug:" in shown
    return rows is None or len(shown.strip().splitlines()) == rows


def item(**fields: object) -> dict[str, object]:
    return {"name": EVIL, "item_uid": "u", "user": EVIL, "args": [EVIL], "kwargs": {"a": [EVIL], EVIL: 1}, **fields}


def test_the_queue_shows_names_users_and_arguments_as_text(console: Console, output: io.StringIO) -> None:
    page = QueuePage(items=[item(), item()], running_item=item(), plan_queue_uid="q", qsize=2)
    queue_commands._print(console, page)
    assert is_text(output.getvalue(), rows=5)


def test_the_history_shows_failures_and_tracebacks_as_text(console: Console, output: io.StringIO) -> None:
    result = {"exit_status": "failed", "msg": EVIL, "traceback": EVIL, "time_start": 1, "time_stop": 2}
    history_commands._print(console, HistoryPage(items=[item(result=result)], plan_history_uid="h", size=1))
    assert is_text(output.getvalue(), rows=3)
    carried = {"args": [CARRIED], "item_uid": "u", "result": {"traceback": EVIL, "msg": CARRIED}}
    history_commands._print_item(console, carried)
    assert is_text(output.getvalue())


def test_one_item_is_shown_as_the_same_json(
    console: Console, output: io.StringIO, capsys: pytest.CaptureFixture
) -> None:
    shown = {"args": [CARRIED, "\U000e0001"], "name": "caf\u00e9"}
    print_json(console, shown)
    text = capsys.readouterr().out
    assert not HARMFUL.search(text)
    assert json.loads(text) == shown
    assert "caf\u00e9" in text
    terminal = Console(force_terminal=True, color_system=None, markup=False, file=output, width=40)
    print_json(terminal, shown)
    assert json.loads(output.getvalue()) == shown
    assert not HARMFUL.search(output.getvalue())


def test_json_for_programs_is_the_same_json(capsys: pytest.CaptureFixture) -> None:
    Output(as_json=True).line({"text": CARRIED})
    text = capsys.readouterr().out
    assert not HARMFUL.search(text)
    assert json.loads(text) == {"text": CARRIED}


def test_status_plans_and_doctor_show_text(
    console: Console, output: io.StringIO, capsys: pytest.CaptureFixture
) -> None:
    suspended = Suspended(since=1, by=[EVIL], justification=EVIL)
    status = STATUS.model_copy(update={"suspended": suspended, "unreachable": {"redis": Absence(why=EVIL, since=1)}})
    status_command._print(console, status)
    assert is_text(output.getvalue(), rows=6)
    _print(console, [Finding(EVIL, is_well=False, since=1, what=EVIL)])
    assert is_text(output.getvalue(), rows=10)
    _show_skipped(Output(as_json=False), {EVIL: EVIL}, None)
    assert is_text(capsys.readouterr().out)


def test_refusals_show_text(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(typer.Exit):
        refuse("up", f"item {EVIL} is refused")
    assert is_text(capsys.readouterr().err, rows=1)
    complain(f"Traceback\n{EVIL}", None, lines=True)
    assert is_text(capsys.readouterr().err)


def test_nobody_forges_a_line_of_a_log() -> None:
    forged = f"2026-12-01T00:00:00 [info     ] Item added {EVIL}"
    text = io.StringIO()
    usual = structlog.get_config()
    try:
        start_logging("queue")
        lines.output = text
        log = structlog.get_logger()
        log.info(f"begun\n{forged}", name=f"a\n{forged}", items=[f"b\n{forged}"], why=ValueError(f"c\n{forged}"))
        try:
            raise ValueError(f"d\n{forged}")
        except ValueError:
            log.exception("failed")
    finally:
        lines.output = None
        structlog.contextvars.clear_contextvars()
        structlog.configure(**usual)
        logging.getLogger("nats").setLevel(logging.NOTSET)
    assert is_text(text.getvalue())
    assert len([line for line in text.getvalue().splitlines() if not line.startswith("    ")]) == 2


@pytest.mark.parametrize(
    ("written", "in_terminal", "in_pipe"),
    [
        ("\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n\x1b[0m", "red\n"),
        ("\r 10%|#   |\r 20%|##  |", "\r 10%|#   |\r 20%|##  |", "\r 10%|#   |\r 20%|##  |"),
        ("a\n\x1b[A\x1b[2Kb\x1b[1Gc\x1b[J", "a\n\x1b[A\x1b[2Kb\x1b[1Gc\x1b[J", "a\nbc"),
        (f"a{CLIPBOARD}b{TITLE}c", "abc", "abc"),
        ("a\x1bP1;2|q\x1b\\b\x1b[cc\x1b[6nd\x1b[2Je\x1bcf\x1b(0g", "abcdefg", "abcdefg"),
        ("a\x9d52;c;aGk=\x07b\x9b31mc", "ab\x1b[31mc\x1b[0m", "abc"),
        ("a\x1b]52;c;never ended\nb", "a\\x1b]52;c;never ended\nb", "a\\x1b]52;c;never ended\nb"),
        ("bell\x07 \u202e\ud800", "bell\\x07 \\u202e\\ud800", "bell\\x07 \\u202e\\ud800"),
        ("\x1b[?25l\x1b[?1049h\x1b[9999999999Ax", "x", "x"),
        ("[red]:bug: caf\u00e9\t\u4f60", "[red]:bug: caf\u00e9\t\u4f60", "[red]:bug: caf\u00e9\t\u4f60"),
        ("end\x1b[", "end\\x1b[", "end\\x1b["),
    ],
    ids=["colour", "tqdm", "bar", "osc", "queries", "c1", "unfinished", "others", "modes", "text", "cut off"],
)
def test_output_of_plans_keeps_what_progress_bars_need_and_no_more(
    written: str, in_terminal: str, in_pipe: str
) -> None:
    for is_terminal, expected in ((True, in_terminal), (False, in_pipe)):
        whole = PlanOutput(in_terminal=is_terminal)
        assert whole.shown(written) + whole.rest() == expected
        cut = PlanOutput(in_terminal=is_terminal)
        assert "".join([*map(cut.shown, written), cut.rest()]) == expected


def test_a_sequence_that_never_ends_holds_nothing_back_for_long() -> None:
    plans = PlanOutput(in_terminal=True)
    shown = "".join(plans.shown("x" * 1000) for _ in range(3))
    shown += plans.shown("\x1b]52;c;") + "".join(plans.shown("y" * 1000) for _ in range(6))
    assert shown.count("y") >= 4000
    for begun in ("\x9d", "\x1b]", "\x9b", "\x1b[0", "\x1b "):  # each as fast as any text
        shown += plans.shown(begun * 50_000)
    assert "\x1b" not in shown
    assert "\x9d" not in shown
