"""The runs that an attempt has opened can be read when the process that wrote them down is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skybus.bus.api.engine import Run
from skybus.worker.run_notes import RunNotes, read_notes


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[RunNotes]:
    notes = RunNotes(tmp_path / "runs")
    yield notes
    notes.close()


def test_only_the_present_attempt_counts(notes: RunNotes, tmp_path: Path) -> None:
    notes.begin("first")
    notes.add(Run(uid="a", scan_id=1))
    notes.begin("second")
    for number in (2, 3):
        notes.add(Run(uid=str(number), scan_id=number))
    assert read_notes(tmp_path / "runs") == ("second", [Run(uid="2", scan_id=2), Run(uid="3", scan_id=3)])


def test_what_was_not_written_to_its_end_is_left_out(notes: RunNotes, tmp_path: Path) -> None:
    notes.begin("torn")
    notes.add(Run(uid="a", scan_id=1))
    with (tmp_path / "runs").open("ab") as file:
        file.write(b'{"uid": "b", "sc')
    assert read_notes(tmp_path / "runs") == ("torn", [Run(uid="a", scan_id=1)])


def test_an_environment_that_has_run_nothing_has_no_runs(notes: RunNotes, tmp_path: Path) -> None:
    assert read_notes(tmp_path / "runs") == ("", [])
