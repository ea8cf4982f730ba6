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


POOLS = """
import multiprocessing
from ophyd.sim import SynAxis
own = SynAxis(name="own")
from . import fast, needy
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print("squares", pool.map(fast.square, [2]))
    for work in (fast.name_of, needy.square):
        try:
            pool.map(work, [2])
        except (RuntimeError, AttributeError) as error:
            print(error)
"""
FAST = """
from .startup import own

def square(n):
    return n * n

def name_of(n):
    return own.name
"""
NEEDY = """
from .startup import *

own.read()

def square(n):
    return n * n
"""


def listed(folder: Path, kernel: str, modules: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Write a package whose module `startup` is startup code, and list what that has."""
    (folder / "beamline_sky").mkdir()
    for name, text in modules.items():
        (folder / "beamline_sky" / f"{name}.py").write_text(text)
    options = ["--startup-module=beamline_sky.startup", f"--file-dir={folder}", f"--use-ipython-kernel={kernel}"]
    environ = {"PYTHONPATH": str(folder), "LOADS": str(folder / "loads"), "IPYTHONDIR": str(folder / "ipython")}
    return subprocess.run(
        [sys.executable, "-m", "skybus.worker.list_plans_devices", *options],
        env={**os.environ, **environ, "JUPYTER_RUNTIME_DIR": str(folder / "jupyter")},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("kernel", ["OFF", "ON"])
def test_the_list_of_a_startup_module_is_written_though_a_thread_goes_on(tmp_path: Path, kernel: str) -> None:
    run = listed(tmp_path, kernel, {"__init__": "SUFFIX = '_x'", "startup": MODULE})
    assert run.returncode == 0, run.stderr
    catalog = yaml.safe_load((tmp_path / "existing_plans_and_devices.yaml").read_text())
    assert catalog["existing_plans"].keys() == {"a_plan"}
    assert catalog["existing_devices"].keys() == {"made_by_library", "own"}
    assert (tmp_path / "loads").read_text() == "once "
    assert "'helper' is defined in startup code, which does not run again" in run.stderr


def test_a_pool_does_not_hang_on_modules_that_import_the_startup_module(tmp_path: Path) -> None:
    run = listed(tmp_path, "OFF", {"__init__": "", "startup": POOLS, "fast": FAST, "needy": NEEDY})
    assert run.returncode == 0, run.stderr
    assert "squares [4]" in run.stdout
    assert "'own' is defined in startup code, which does not run again" in run.stdout
    assert "'square' is defined in beamline_sky.needy, which uses startup code" in run.stdout
