"""A process of the stack: started, known to be ready, started again when it dies or hangs, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from skybus.bus.errors import UnavailableError
from skybus.bus.tasks import end_tasks
from skybus.stack.notify_socket import NotifySocket

log = structlog.get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_GOOD_LIFE = 10.0
"""Seconds after which a death counts as the first one again."""
SILENCE = 10.0
"""Seconds after which a service that does not report that it lives is started again."""
_MOST_SILENCE = 8
"""How many times as long is allowed at most, if it was silent again and again: then it is the machine that is slow."""
_CALM = 600.0
"""Seconds of life after which silence counts as the first one again."""
_TIME_FOR_STACKS = 2.0
"""Seconds in which a silent process writes its stacks; then it is killed."""
_LOG_LIMIT = 16 << 20
"""Bytes; a larger log is put aside when its process is started."""

UntilReady = Callable[[asyncio.subprocess.Process], Awaitable[dict[str, str]]]
"""Returns when a process serves, with what it tells of itself."""


@dataclass
class Child:
    """One process of the stack.

    Args:
        environment: its own environment variables; what is put in here later counts from the next start on.
        reports: where it reports that it lives; without it, a process that hangs is not noticed.
        silence: seconds without a report after which it is started again.
        stop_signal: what ends it in good order.
        lock_fd: of the data directory; servers hold it as long as they live.
    """

    name: str
    command: list[str]
    log_file: Path
    until_ready: UntilReady
    environment: dict[str, str] = field(default_factory=dict)
    reports: NotifySocket | None = None
    silence: float = SILENCE
    stop_signal: signal.Signals = signal.SIGTERM
    lock_fd: int | None = None
    account: dict[str, Any] = field(default_factory=dict)
    """What makes its process belong to another account."""
    told: dict[str, str] = field(default_factory=dict)
    """What it has told of itself when it was ready."""
    _process: asyncio.subprocess.Process | None = None
    _log_begin: int = 0
    """Where in its log the present life begins."""
    _stopping: bool = False
    _patience: float = 0.0
    """Seconds of silence that are allowed now."""

    def __post_init__(self) -> None:
        self._patience = self.silence
        if self.reports:
            self.environment |= {"NOTIFY_SOCKET": self.reports.address, "WATCHDOG_USEC": str(int(self.silence * 1e6))}

    async def start(self) -> None:
        """Start it for the first time and wait until it is ready.

        Raises:
            UnavailableError: it has ended instead; with the end of its log.
        """
        process = self._process = await self._spawn()
        ready = asyncio.ensure_future(self.until_ready(process))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise UnavailableError(f"{self.name} did not start: {self._last_words()}")
            self.told = ready.result()
        finally:
            ready.cancel()
            ended.cancel()

    async def watch(self) -> None:
        """Start it again whenever it dies, with a pause that grows; until it is stopped."""
        pause = _FIRST_PAUSE
        while not self._stopping:
            assert self._process is not None
            born = time.monotonic()
            code = await self._until_ended(self._process)
            if self._stopping:
                return
            if time.monotonic() - born > _GOOD_LIFE:
                pause = _FIRST_PAUSE
            by_itself = code > 0 or code == -signal.SIGABRT
            said = {"said": self._last_words(1)} if by_itself else {}
            log.warning("a process has died and is started again", name=self.name, exit_code=code, pause=pause, **said)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            if not self._stopping:
                self._process = await self._spawn()

    async def _until_ended(self, process: asyncio.subprocess.Process) -> int:
        """Return its exit code; a process that is silent is ended."""
        silence = asyncio.create_task(self._end_when_silent(process), name=f"silence of {self.name}")
        try:
            return await process.wait()
        finally:
            await end_tasks([silence])

    async def _end_when_silent(self, process: asyncio.subprocess.Process) -> None:
        if self.reports is None:
            return
        born = time.monotonic()
        await self.reports.until_silent(self._patience)
        log.warning(
            "a service is silent and is ended; its log has its stacks", name=self.name, silent_seconds=self._patience
        )
        self._patience = next_patience(self.silence, self._patience, lived=time.monotonic() - born)
        _signal(process, signal.SIGABRT)
        _signal(process, signal.SIGCONT)  # one that is stopped gets the other signal then
        await asyncio.sleep(_TIME_FOR_STACKS)
        _signal(process, signal.SIGKILL)

    async def stop(self, patience: float) -> None:
        """End it: in good order, or after `patience` seconds by force."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal(process, self.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            log.warning("a process did not stop in time and is killed", name=self.name)
            _signal(process, signal.SIGKILL)
            await process.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        if self.reports:
            self.reports.forget()
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as output:
            self._log_begin = output.tell()
            return await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                start_new_session=True,  # Ctrl-C is ours to pass on, in order
                pass_fds=() if self.lock_fd is None else (self.lock_fd,),
                preexec_fn=end_with_parent,
                **self.account,
            )

    def _last_words(self, lines: int = 3) -> str:
        with self.log_file.open("rb") as log_file:
            log_file.seek(self._log_begin)
            written = log_file.read().decode(errors="replace").strip().splitlines()
        return " | ".join(written[-lines:]) or f"it wrote nothing to {self.log_file}"


def next_patience(first: float, last: float, *, lived: float) -> float:
    """Return how many seconds of silence are allowed after a service was silent.

    Args:
        first: What is allowed at first.
        last: What was allowed now.
        lived: Seconds that the service had lived.
    """
    return first if lived > _CALM else min(2 * last, _MOST_SILENCE * first)


def until_listening(path: Path) -> UntilReady:
    """Wait until a server takes connections at a unix socket; it has no way to tell, so it is tried."""

    async def until_ready(_process: asyncio.subprocess.Process) -> dict[str, str]:
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(path)
            except OSError:
                await asyncio.sleep(0.005)
            else:
                writer.close()
                return {}

    return until_ready


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal; asyncio's own way looks first whether the process has ended, and so takes its end from who waits.

    Then "Unknown child process pid" is printed, and the exit code is lost (subprocess.Popen.send_signal calls poll).
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent is killed (PR_SET_PDEATHSIG, Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
