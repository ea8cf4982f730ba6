"""What people write on a command line, and what is shown to them."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
import typer
from typer.testing import CliRunner

from skybus.bus.api.progress import PlanProgress
from skybus.bus.errors import WrongStateError
from skybus.cli.__main__ import make_app
from skybus.cli.arguments import make_item, moment, one_uid, position_of, split_arguments
from skybus.cli.hints import sentence
from skybus.cli.output import arguments, clock, shorten
from skybus.cli.queue_commands import _changed, _given
from skybus.cli.watch_command import bar


def test_words_are_json_or_themselves():
    args, kwargs = split_arguments(['["det1"]', "motor", "-1", "null", "num=10", "name=a=b", "flag=true", "x="])
    assert args == [["det1"], "motor", -1, None]
    assert kwargs == {"num": 10, "name": "a=b", "flag": True, "x": ""}


@pytest.mark.parametrize("words", [["[det1"], ["{a"], ["num=1", "det"]])
def test_words_that_cannot_be_meant_are_refused(words: list[str]):
    with pytest.raises(typer.BadParameter):
        split_arguments(words)


def test_item_is_made_of_words():
    assert make_item("count", ["det", "num=2"], '{"sample": "x"}') == {
        "item_type": "plan",
        "name": "count",
        "args": ["det"],
        "kwargs": {"num": 2},
        "meta": {"sample": "x"},
    }
    assert make_item("queue_stop", []) == {"item_type": "instruction", "name": "queue_stop"}
    with pytest.raises(typer.BadParameter, match="--meta"):
        make_item("count", [], "[1]")


def test_metadata_beside_a_whole_item_is_refused():
    with pytest.raises(typer.BadParameter, match="--meta"):
        _given(None, None, '{"name": "count"}', '{"sample": "x"}')


def test_an_item_is_changed_by_words_or_replaced_as_a_whole():
    present = {"item_type": "plan", "name": "count", "args": [["det"]], "kwargs": {"num": 1, "delay": 1}}
    assert _changed(present, ["num=2"], None) == {**present, "kwargs": {"num": 2, "delay": 1}}
    assert _changed(present, ["sleep", "3"], None) == {"item_type": "plan", "name": "sleep", "args": [3]}
    assert _changed(present, [], '{"name": "sleep"}') == {"item_type": "plan", "name": "sleep"}
    for words, item in (([], None), (["num=2"], '{"name": "sleep"}')):
        with pytest.raises(typer.BadParameter, match="--item"):
            _changed(present, words, item)


def test_level_that_no_log_has_is_refused():
    refused = CliRunner().invoke(make_app("up"), ["up", "--log-level", "loud"])
    assert refused.exit_code == 2
    assert "loud" in refused.output


def test_positions():
    assert [position_of(text) for text in (None, "front", "back", "-1", "7")] == [None, "front", "back", -1, 7]
    with pytest.raises(typer.BadParameter, match="middle"):
        position_of("middle")


def test_beginning_of_a_uid_is_enough_when_only_one_has_it():
    uids = ["abc-1", "abd-2"]
    assert [one_uid(text, uids) for text in ("abc", "abd-2", "zzz")] == ["abc-1", "abd-2", "zzz"]
    with pytest.raises(typer.BadParameter, match="2 items"):
        one_uid("ab", uids)


def test_moments():
    assert abs(moment("10m") - (time.time() - 600)) < 5
    assert datetime.fromtimestamp(moment("00:30")).strftime("%H:%M") == "00:30"
    assert moment("2026-11-22T14:30:00+00:00") == 1795357800
    with pytest.raises(typer.BadParameter, match="yesterday"):
        moment("yesterday")


def test_arguments_are_shown_as_people_write_them_and_cut():
    assert arguments({"args": [["det1"], 1.5], "kwargs": {"num": 2}}) == "[det1], 1.5, num=2"
    assert arguments({}) == ""
    assert len(arguments({"args": ["x" * 1000]})) == 60
    assert shorten("abcdef", 4) == "abc…"
    assert clock(None) == ""


def test_progress_is_drawn_as_far_as_it_is_known():
    some = PlanProgress(item_uid="a", run_uid="run", done=4, planned=10, fraction=0.4)
    assert bar(some) == "############------------------  40%  4 of 10"
    assert bar(some.model_copy(update={"planned": None, "fraction": None})) == "4 points of run run"


def test_refusal_says_the_next_step():
    assert sentence(WrongStateError("RE Worker environment does not exist.")).endswith("`skybus env open` opens it")
    assert "queue stop" in sentence(WrongStateError("Queue execution is in progress."))
    assert "queue stop" not in sentence(WrongStateError("Foreground task execution is in progress."))
    assert sentence(WrongStateError("a\nb")) == "a b"
    assert sentence(TimeoutError("too long")) == "too long"


def test_help_names_every_command_and_one_command_loads_alone():
    everything = CliRunner().invoke(make_app(), ["--help"]).output
    for name in ("status", "watch", "env", "queue", "re", "history", "console", "up"):
        assert name in everything
    alone = CliRunner().invoke(make_app("queue"), ["queue", "--help"])
    assert alone.exit_code == 0
    for name in ("list", "add", "get", "update", "remove", "move", "clear", "start", "stop", "cancel-stop", "mode"):
        assert name in alone.output
