"""Processes as Linux shows them: which one it is, and when it ends, whether or not it is a child of ours."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

from skybus.worker.memory import OUT_OF_MEMORY


def start_mark(pid: int) -> str | None:
    """What tells a process from a later one with the same number; nothing if it is not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{boot}:{fields[18]}"


def say_exit(code: int | None, *, memory_kill: bool = False) -> str:
    """Say in words how a process has ended.

    Args:
        code: its exit code, or a negative signal number.
        memory_kill: whether the kernel has killed somebody for want of memory meanwhile.
    """
    if memory_kill and code in (None, -signal.SIGKILL):
        return "The environment process was killed by signal 9 (SIGKILL): the kernel has run out of memory for it"
    if code == OUT_OF_MEMORY:
        return f"The environment process has run out of memory and ended itself with exit code {code}"
    if code is None:
        return "The environment process is gone; how it ended could not be seen"
    if code < 0:
        return f"The environment process was killed by signal {-code} ({_signal_name(-code)})"
    return f"The environment process ended with exit code {code}"


class Watched:
    """A living process: a child of ours, or one that a former supervisor has started.

    Args:
        on_exit: called once with the exit code, a negative signal number, or nothing if only the parent could see it.
    """

    def __init__(self, pid: int, child: Popen[bytes] | None, on_exit: Callable[[int | None], None]) -> None:
        self.pid = pid
        self._child = child
        self._on_exit = on_exit
        self._pidfd = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._ended)
        self.gone = asyncio.Event()

    def send_signal(self, number: int) -> None:
        """Send a signal to this very process."""
        with suppress(OSError):  # it has ended meanwhile
            signal.pidfd_send_signal(self._pidfd, number)

    def forget(self) -> None:
        """Watch no more."""
        if not self.gone.is_set():
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)

    def _ended(self) -> None:
        self.forget()
        self.gone.set()
        self._on_exit(self._child.wait() if self._child else None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
