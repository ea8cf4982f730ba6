"""What is filed of an attempt whose environment is gone."""

from __future__ import annotations

from skybus.bus.api.engine import Run
from skybus.bus.api.internal import EnvironmentExited
from skybus.queue.deciding import lost
from skybus.queue.records import Running

RUNS = [Run(uid="first", scan_id=1), Run(uid="second", scan_id=2)]
ATTEMPT = Running(item={"item_uid": "a", "name": "count"}, attempt="now", environment_id="env", time_start=1.0)


def filed(exited: EnvironmentExited, seen: list[Run]) -> list[str]:
    return lost(ATTEMPT, exited, seen).run_uids


def test_runs_count_that_were_written_down_after_the_last_were_told() -> None:
    assert filed(EnvironmentExited(environment_id="env", attempt="now", runs=RUNS), seen=RUNS[:1]) == [
        "first",
        "second",
    ]


def test_what_was_told_counts_if_nothing_could_be_written_down_or_read() -> None:
    assert filed(EnvironmentExited(environment_id="env"), seen=RUNS) == ["first", "second"]


def test_runs_of_another_attempt_do_not_count() -> None:
    assert filed(EnvironmentExited(environment_id="env", attempt="before", runs=RUNS), seen=[]) == []
