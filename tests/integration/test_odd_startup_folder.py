"""An environment opens whatever lies in its startup folder, and says what is not run, not listed or not as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from skybus.worker.environment.startup_files import find_startup_files, unreadable
from tests.integration.kernel_fixtures import kernel_worker
from tests.integration.worker_fixtures import House, WorkerProcess, house_of, plan, script, until_answers
from tests.servers import NatsServer

BASE = """
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import det

RE = RunEngine({})
loaded = ["base"]
"""
ODD = '''
import enum, functools, math, os, sys
from typing import Literal
from unittest.mock import MagicMock
import bluesky.plan_stubs as bps

class Filter(enum.Enum):
    OUT = "out"

class Exits:
    def __getattribute__(self, name):
        raise SystemExit(name)

def logged(func):
    @functools.wraps(func)
    def inner(*args, **kwargs):
        return func(*args, **kwargs)
    return inner

@logged
def wrapped(num: int = 3):
    """Do it."""
    print("num is", num)
    yield from bps.null()

def to_filter(position: Literal[Filter.OUT], timeout=math.nan):
    print("timeout is", timeout)
    yield from bps.null()

def saved():
    yield from bps.null()

saved.__doc__ = "Writes to " + os.fsdecode(b"M\\xfcller")

def promises() -> "MsgGenerator":
    return count([det])

three = functools.partial(wrapped, 3)
mock, exits = MagicMock(), Exits()
globals()[5] = det
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "00-base.py").write_text(BASE)
    (tmp_path / "40-odd.py").write_text(ODD)
    (tmp_path / ".10-old.py").write_text("raise RuntimeError('an old version')")
    (tmp_path / "._00-base.py").write_bytes(b"\x00\x05\x16\x07\x00Mac OS X")
    (tmp_path / ".#40-odd.py").symlink_to("ada@hutch.1234")
    (tmp_path / "20-folder.py").mkdir()
    (tmp_path / "30-gone.py").symlink_to("nowhere.py")
    os.mkfifo(tmp_path / "35-pipe.ipy")
    (tmp_path / "notes.txt").touch()
    return tmp_path


IGNORED = [
    "startup folder: '20-folder.py' is not run: it is a folder",
    "startup folder: '30-gone.py' is not run: it is a link to nothing",
    "startup folder: '35-pipe.ipy' is not run: it is no regular file",
]


def test_startup_code_is_what_the_patterns_match(folder: Path) -> None:
    found = find_startup_files(folder)
    assert [path.name for path in found.files] == ["00-base.py", "40-odd.py"]
    assert found.ignored == IGNORED


@pytest.fixture
def nobody() -> Iterator[None]:
    """Run as somebody who may not read everything."""
    if is_root := os.geteuid() == 0:
        os.seteuid(65534)
    yield
    if is_root:
        os.seteuid(0)


def test_a_file_that_cannot_be_read_is_found_before_anything_is_run(nobody: None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "00.py", Path(folder) / "10.py"]
        for file in files:
            file.touch(mode=0o600)
        files[1].chmod(0)
        failed = unreadable(find_startup_files(Path(folder)).files)
        assert failed
        assert failed[0] == files[1]
        assert failed[1].strerror == "Permission denied"


@pytest.mark.parametrize("make_worker", [WorkerProcess, kernel_worker])
async def test_an_environment_opens_and_says_what_is_left_out(nats: NatsServer, folder: Path, make_worker) -> None:
    worker = make_worker(nats.data_dir, SKYBUS_STARTUP_DIR=str(folder))
    worker.start()
    try:
        async with house_of(nats) as house:
            await until_answers(house)
            warnings = (await house.opened(60))["facts"]["warnings"]
            await _check(house, warnings)
    finally:
        worker.end()


async def _check(house: House, warnings: list[str]) -> None:
    assert warnings[:3] == IGNORED
    for words in (
        "what is called 5 is not listed",
        "'exits' (Exits) is no device, as it raises when it is looked at",
        "'mock' (MagicMock) ",
        "plan 'to_filter', parameter 'position': its type hint cannot be written and is left out",
        "plan 'to_filter', parameter 'timeout': default nan is not a plain Python value",
        "plan 'saved': its description has characters that cannot be sent",
        "not listed although they look like plans (1): promises",
    ):
        assert any(text.startswith(words) for text in warnings), (words, warnings)
    assert len(warnings) == 10
    await house.until_text(f"Warning: {warnings[-1]}\n")

    for item, said in (
        (plan("to_filter", "out"), "timeout is nan"),
        (plan("wrapped", num=4), "num is 4"),
        (plan("three"), "num is 3"),
        (plan("saved"), ""),
        (plan("count", ["det"]), ""),
    ):
        report = await house.finish(item)
        assert report["exit_status"] == "completed", report
        assert said in await house.text_of(item, said)

    task = await house.finish_task(script("def bad(a=object()):\n    yield"))
    assert task["success"], task
    await house.until_text("Warning: plan 'bad', parameter 'a': default <object object")


def test_the_tool_lists_what_can_be_listed(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "skybus.worker.list_plans_devices", "--startup-dir", folder, "--file-dir", folder]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 1
    assert "Failed to create description of plan 'to_filter': Parameter 'timeout'" in refused.stderr
    done = subprocess.run(
        [*command, "--ignore-invalid-plans=ON"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"Warning: {IGNORED[0]}" in done.stdout
    assert "plan 'to_filter' is not listed" in done.stdout
    assert "not listed: promises: it is annotated as a plan" in done.stdout
    lists = yaml.safe_load((folder / "existing_plans_and_devices.yaml").read_text())
    assert {"count", "wrapped", "three", "saved"} == set(lists["existing_plans"])
    assert list(lists["existing_devices"]) == ["det"]
