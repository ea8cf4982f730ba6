"""A test that leaves something behind fails, and what it has left is named."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from skybus.bus.tasks import end_tasks
from tests import leftovers


def leave_thread() -> Callable[[], object]:
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait, name="left")
    thread.start()
    return lambda: (is_over.set(), thread.join())


def leave_process() -> Callable[[], object]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    return lambda: process.communicate()


def leave_file() -> Callable[[], object]:
    file = os.open(os.devnull, os.O_RDONLY)
    return lambda: os.close(file)


@pytest.mark.parametrize(
    ("leave", "named"),
    [(leave_thread, "thread left"), (leave_process, "input()"), (leave_file, os.devnull)],
)
def test_what_is_left_is_named(
    monkeypatch: pytest.MonkeyPatch, leave: Callable[[], Callable[[], object]], named: str
) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 0.0)
    clean_ups = []
    with pytest.raises(pytest.fail.Exception) as failure, leftovers.none_left():
        clean_ups.append(leave())
    clean_ups[0]()
    assert named in str(failure.value)


async def test_a_task_that_is_left_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 0.0)
    tasks = []
    with pytest.raises(pytest.fail.Exception, match="a forgotten one"), leftovers.none_left():
        tasks.append(asyncio.create_task(asyncio.Event().wait(), name="a forgotten one"))
    await end_tasks(tasks)


def test_what_ends_a_moment_later_is_not_left() -> None:
    with leftovers.none_left():
        threading.Timer(0.01, lambda: None).start()
