"""The runs of an attempt are known however many there are; what is shown of them stays small."""

from skybus.worker.environment.runs import SHOWN, RunList


def test_of_many_runs_the_open_ones_and_the_newest_are_shown() -> None:
    runs = RunList()
    runs.take("start", {"uid": "open", "scan_id": 0})
    for number in range(1, 2 * SHOWN):
        runs.take("start", {"uid": f"run {number}", "scan_id": number})
        runs.take("stop", {"run_start": f"run {number}", "exit_status": "success" if number > 1 else "fail"})

    assert len(runs.shown) == SHOWN
    assert [run.scan_id for run in runs.shown] == [0, *range(SHOWN + 1, 2 * SHOWN)]
    assert [run.uid for run in runs.shown if run.is_open] == ["open"]
    assert runs.scan_ids == list(range(2 * SHOWN))
    assert runs.run_uids[-1] == f"run {2 * SHOWN - 1}"
    assert runs.exit_statuses == {"success", "fail"}


def test_a_run_is_shown_as_long_as_it_is_open() -> None:
    runs = RunList()
    for number in range(SHOWN + 1):
        runs.take("start", {"uid": str(number)})

    assert len(runs.shown) == SHOWN + 1
