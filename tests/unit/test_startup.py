"""Startup code loads as its authors wrote it, and failures point at their own lines."""

import os
import sys
from pathlib import Path
from types import ModuleType

import ophyd  # noqa: F401 - its threads begin when it is imported, and last as long as the process
import pytest
from bluesky.run_engine import _ensure_event_loop_running, get_bluesky_event_loop

from skybus.worker.environment import reference_names
from skybus.worker.environment.registry import REGISTRY, RegisteredDevice
from skybus.worker.environment.startup import StartupError, StartupSource, load_startup

PROFILE_SIM = Path(reference_names.__file__).parent.parent / "profile_sim"


def _forget_reference() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.split(".")[0] == reference_names.PACKAGE]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture
def _stand_in(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = _forget_reference()
    reference_names.install()
    yield
    _forget_reference()
    sys.modules.update(before)


def test_directory_files_run_in_order_in_one_namespace(tmp_path):
    (tmp_path / "10-second.py").write_text("seen.append(__file__); total = base + 1")
    (tmp_path / "00-first.py").write_text("seen = [__file__]; base = 1; module_name = __name__")
    (tmp_path / "notes.txt").write_text("no code")

    namespace = load_startup(StartupSource(directory=tmp_path))

    assert [Path(name).name for name in namespace["seen"]] == ["00-first.py", "10-second.py"]
    assert namespace["total"] == 2
    assert namespace["module_name"] == "__main__"
    assert "__file__" not in namespace


def test_directory_may_import_its_own_modules_while_it_loads(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "beamline_helpers_sky.py").write_text("energy = 12.4")
    (tmp_path / "00.py").write_text(
        "import sys, os\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\n"
        "from beamline_helpers_sky import energy"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))

    assert load_startup(StartupSource(directory=tmp_path))["energy"] == 12.4
    assert str(tmp_path) not in sys.path


def test_script_may_import_modules_beside_it(tmp_path):
    (tmp_path / "beside_sky.py").write_text("answer = 42")
    script = tmp_path / "startup.py"
    script.write_text("from beside_sky import answer")

    assert load_startup(StartupSource(script=script))["answer"] == 42
    assert str(tmp_path) not in sys.path


def test_module_fills_the_namespace():
    assert load_startup(StartupSource(module="colorsys"))["rgb_to_hsv"](0, 0, 0) == (0.0, 0.0, 0)


@pytest.mark.parametrize("code", ["x = 1\nx / 0\n", "x = 1\nimport sys; sys.exit(3)\n", "x = 1\nx = (\n"])
def test_failing_startup_names_the_users_file_and_line(tmp_path, code):
    (tmp_path / "00-bad.py").write_text(code)

    with pytest.raises(StartupError, match=r"Error while executing script '.*00-bad\.py'") as caught:
        load_startup(StartupSource(directory=tmp_path))

    assert '00-bad.py", line 2' in caught.value.traceback
    assert "startup.py" not in caught.value.traceback


def test_directory_without_startup_files_is_an_error(tmp_path):
    with pytest.raises(StartupError, match="contains no startup files"):
        load_startup(StartupSource(directory=tmp_path))


def test_exactly_one_source_is_named():
    with pytest.raises(ValueError, match="one source"):
        StartupSource(directory=Path(), module="this")


def test_startup_files_get_a_shell_without_ipython(tmp_path):
    code = "from IPython import (get_ipython)  # comment\nx = 5\nfound = get_ipython().user_ns['x']"
    (tmp_path / "00.py").write_text(code)

    assert load_startup(StartupSource(directory=tmp_path))["found"] == 5


@pytest.mark.usefixtures("_stand_in")
def test_code_written_for_the_reference_runs(tmp_path):
    (tmp_path / "00.py").write_text(
        "from bluesky_queueserver import parameter_annotation_decorator, is_re_worker_active, is_ipython_mode\n"
        "from bluesky_queueserver import register_device, register_plan\n"
        "from bluesky_queueserver.manager.annotation_decorator import parameter_annotation_decorator as same\n"
        "from bluesky_queueserver.manager.profile_tools import set_user_ns\n"
        "active, ipython = is_re_worker_active(), is_ipython_mode()\n"
        "register_device('stage', depth=2)\n"
        "value = 7\n"
        "@set_user_ns\n"
        "def look(key, *, user_ns): return user_ns[key]\n"
        "@parameter_annotation_decorator({'description': 'A plan'})\n"
        "def plan(a):\n    yield a\n"
    )

    namespace = load_startup(StartupSource(directory=tmp_path))

    assert (namespace["active"], namespace["ipython"]) == (True, False)
    assert namespace["look"]("value") == 7
    assert list(namespace["plan"](3)) == [3]
    assert REGISTRY.devices == {"stage": RegisteredDevice(depth=2)}


@pytest.mark.usefixtures("_stand_in")
def test_the_decorator_warns_of_a_missing_parameter():
    decorator = sys.modules["bluesky_queueserver"].parameter_annotation_decorator

    with pytest.warns(UserWarning, match=r"'plan'.*\['b'\]"):

        @decorator({"parameters": {"b": {"description": "none such"}}})
        def plan(a):
            yield a


@pytest.fixture
def engine_loop():
    """End the loop and the thread of the RunEngine that startup code makes."""
    yield
    loop = get_bluesky_event_loop()
    loop.call_soon_threadsafe(loop.stop)
    _ensure_event_loop_running.loop_to_thread[loop].join()
    loop.close()


@pytest.mark.usefixtures("_stand_in")
def test_simulated_profile_has_devices_plans_and_an_engine(engine_loop):
    namespace = load_startup(StartupSource(directory=PROFILE_SIM))

    assert {"det", "motor1", "count", "print_lines", "failing_plan", "move_and_count"} <= set(namespace)
    assert namespace["RE"].state == "idle"
