"""Startup code that is a module, listed without an environment: it runs once, and `__main__` gets its names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

MODULE = """
import multiprocessing, os, sys, threading
from pathlib import Path
from ophyd.sim import SynAxis
from . import SUFFIX

with Path(os.environ["LOADS"]).open("a") as loads:
    loads.write("once ")

def a_plan(n: int):
    yield from []

def helper():
    pass

setattr(sys.modules["__main__"], "made_by_library", SynAxis(name="made_by_library"))
own = SynAxis(name="own" + SUFFIX)
child = multiprocessing.get_context("spawn").Process(target=helper)
child.start()
child.join()
assert child.exitcode == 1
threading.Thread(target=threading.Event().wait).start()
"""


@pytest.mark.parametrize("kernel", ["OFF", "ON"])
def test_the_list_of_a_startup_module_is_written_though_a_thread_goes_on(tmp_path: Path, kernel: str) -> None:
    (tmp_path / "beamline_sky").mkdir()
    (tmp_path / "beamline_sky" / "__init__.py").write_text("SUFFIX = '_x'")
    (tmp_path / "beamline_sky" / "startup.py").write_text(MODULE)
    options = ["--startup-module=beamline_sky.startup", f"--file-dir={tmp_path}", f"--use-ipython-kernel={kernel}"]
    environ = {"PYTHONPATH": str(tmp_path), "LOADS": str(tmp_path / "loads"), "IPYTHONDIR": str(tmp_path / "ipython")}
    run = subprocess.run(
        [sys.executable, "-m", "skybus.worker.list_plans_devices", *options],
        env={**os.environ, **environ, "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    listed = yaml.safe_load((tmp_path / "existing_plans_and_devices.yaml").read_text())
    assert listed["existing_plans"].keys() == {"a_plan"}
    assert listed["existing_devices"].keys() == {"made_by_library", "own"}
    assert (tmp_path / "loads").read_text() == "once "
    assert "'helper' is defined in startup code, which does not run again" in run.stderr
