"""What a test leaves behind: asyncio tasks, threads, processes and file descriptors that were not there before it."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PATIENCE = 10.0
"""Seconds in which what was told to end has to end; nothing waits as long as this when all is well."""
_MARK = f"SKYBUS_TEST_PROCESS={os.getpid()}"
os.environ["SKYBUS_TEST_PROCESS"] = str(os.getpid())
os.environ.setdefault("SKYBUS_DUMPABLE", "true")  # or nobody but root could see which processes are ours
_ARE_OURS = dict[int, bool]()
"""Of each process that was looked at, whether it was started by this one, or by one that this one has started."""
_LOOPS = set[asyncio.AbstractEventLoop]()
"""Event loops that tests are using."""


def follow(loop: asyncio.AbstractEventLoop) -> None:
    """Look at the tasks of a loop from now on."""
    _LOOPS.add(loop)


def forget(loop: asyncio.AbstractEventLoop) -> None:
    """Nobody uses a loop any more: all its tasks have ended."""
    _LOOPS.remove(loop)
    with suppress(RuntimeError):  # it is closed already
        loop.run_until_complete(asyncio.sleep(0))  # who was cancelled this moment ends
        if left := asyncio.all_tasks(loop):
            pytest.fail(f"asyncio tasks are left: {sorted(map(str, left))}", pytrace=False)


@contextmanager
def none_left() -> Iterator[None]:
    """Fail when there is more afterwards than before."""
    before = _Things.now()
    yield
    deadline = time.monotonic() + PATIENCE
    while left := _Things.now().beside(before):
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + ", ".join(left), pytrace=False)
        gc.collect()
        time.sleep(0.02)  # for what is ending there is no event


@dataclass(frozen=True)
class _Things:
    tasks: set[asyncio.Task] = field(default_factory=set)
    threads: set[threading.Thread] = field(default_factory=set)
    processes: dict[int, str] = field(default_factory=dict)
    """What they run."""
    files: dict[int, str] = field(default_factory=dict)
    """File descriptors, and what they are."""

    @classmethod
    def now(cls) -> _Things:
        tasks = {task for loop in _LOOPS for task in asyncio.all_tasks(loop)}
        processes = {pid: _command(pid) for pid in _processes()}
        return cls(tasks, set(threading.enumerate()), processes, _files())

    def beside(self, before: _Things) -> list[str]:
        """Name what was not there before."""
        threads = {thread for thread in self.threads - before.threads if not _is_of_a_pool(thread)}
        processes = self.processes.keys() - self._at_home(before)
        files = {fd for fd, what in self.files.items() if before.files.get(fd) != what}
        return [
            *(f"task {task}" for task in self.tasks - before.tasks),
            *(f"thread {thread.name}" for thread in threads),
            *(f"process {pid} ({self.processes[pid]})" for pid in processes),
            *(f"file descriptor {fd} ({self.files[fd]})" for fd in files),
        ]

    def _at_home(self, before: _Things) -> set[int]:
        """Who was there before, has taken the place of one that was, or was started by one of these."""
        gone = {before.processes[pid] for pid in before.processes.keys() - self.processes.keys()}
        known = {pid for pid, command in self.processes.items() if pid in before.processes or command in gone}
        while more := {pid for pid in self.processes.keys() - known if _parent(pid) in known}:
            known |= more
        return known


def _is_of_a_pool(thread: threading.Thread) -> bool:
    """A loop that others go on using has its pool of threads."""
    return bool(_LOOPS) and thread.name.startswith("asyncio_")


def _processes() -> set[int]:
    """Those that this one has started, and those that these have."""
    there = {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()}
    for pid in _ARE_OURS.keys() - there:
        del _ARE_OURS[pid]
    for pid in there - _ARE_OURS.keys():
        _ARE_OURS[pid] = _is_marked(pid)
    return {pid for pid in there if _ARE_OURS.get(pid)} | _children()


def _is_marked(pid: int) -> bool:
    with suppress(OSError):
        return _MARK.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _children() -> set[int]:
    """Those without our mark, too: who was forked and has not become another program."""
    found = set[int]()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found |= set(map(int, (thread / "children").read_text().split()))
    return found


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip() or "not waited for"
    return "gone"


def _files() -> dict[int, str]:
    found = dict[int, str]()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found[int(link.name)] = str(link.readlink())
    return found
