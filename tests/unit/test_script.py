"""Uploaded scripts run in the namespace of the startup code, also side by side."""

import sys
import threading

import pytest

from skybus.worker.environment.script import run_script
from skybus.worker.environment.startup import StartupError
from tests.promises import PATIENCE


def test_script_keeps_the_run_engine_unless_told_otherwise():
    namespace = {"RE": "engine"}
    run_script("RE = 'other'; db = 1; x = 1", namespace)
    assert (namespace["RE"], namespace["x"], "db" in namespace) == ("engine", 1, False)

    run_script("RE = 'other'", namespace, update_re=True)
    assert namespace["RE"] == "other"


def test_failing_script_shows_its_source_line_and_keeps_what_ran():
    namespace = {}
    with pytest.raises(StartupError) as caught:
        run_script("x = 1\nraise ValueError('oops')\n", namespace)

    assert "raise ValueError('oops')" in caught.value.traceback
    assert namespace["x"] == 1


def test_script_that_does_not_compile_shows_the_line():
    with pytest.raises(StartupError) as caught:
        run_script("x = 1\nx = (\n", {})

    assert caught.value.traceback.startswith("Traceback")
    assert "x = (" in caught.value.traceback


def test_what_a_script_has_defined_shows_its_own_lines_also_after_other_scripts():
    namespace = {}
    run_script("def fail():\n    raise ValueError('of the first')\n", namespace)
    run_script("x = 1\ny = 2\n", namespace)

    with pytest.raises(StartupError) as caught:
        run_script("fail()", namespace)

    assert "raise ValueError('of the first')" in caught.value.traceback
    assert "y = 2" not in caught.value.traceback


def test_script_imports_from_the_startup_folder_and_sees_edits(tmp_path):
    module, namespace = tmp_path / "beside_script_sky.py", {}
    for value in ("1", "'edited'"):
        module.write_text(f"value = {value}")
        run_script("from beside_script_sky import value", namespace, root=tmp_path)

    assert namespace["value"] == "edited"
    assert str(tmp_path) not in sys.path


def test_script_that_ends_leaves_the_folder_to_the_one_that_runs_beside_it(tmp_path):
    (tmp_path / "late_sky.py").write_text("value = 5")
    begun, go_on = threading.Event(), threading.Event()
    namespace = {"begun": begun, "go_on": go_on}
    script = "begun.set(); go_on.wait(100)\nfrom late_sky import value"
    slow = threading.Thread(target=run_script, args=(script, namespace), kwargs={"root": tmp_path})
    slow.start()
    assert begun.wait(PATIENCE)
    run_script("x = 1", namespace, root=tmp_path)
    go_on.set()
    slow.join()

    assert namespace["value"] == 5
    assert str(tmp_path) not in sys.path
