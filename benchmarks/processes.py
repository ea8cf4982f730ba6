"""Starts processes in sessions of their own and sees to it that every one of them is gone at the end."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies (Linux), so that none can slip away."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command: Sequence[str | Path], log: Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a process that no Ctrl-C at our terminal reaches; its output is appended to a log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], grace: float) -> None:
    """Ask a process to end; after the grace time, in seconds, end it and its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def busy_share(mark: str, over: float) -> float:
    """Return how much of one core the descendants with a mark have used during some seconds."""

    def used() -> float:
        pids = [pid for pid in _descendants() if mark.encode() in _environment(pid)]
        return sum(_cpu_seconds(pid) for pid in pids)

    before = used()
    time.sleep(over)
    return (used() - before) / over


def memory() -> dict[str, float]:
    """Return the MB (proportional set size) that descendants of each name have together."""
    sizes: dict[str, float] = {}
    for pid in _descendants():
        if megabytes := _proportional_megabytes(pid):
            sizes[_name(pid)] = sizes.get(_name(pid), 0) + megabytes
    return sizes


def kill_descendants(mark: bytes = b"") -> list[int]:
    """Kill whatever descends from this process, or only what carries a mark in its environment; return the pids."""
    killed = []
    while pids := [pid for pid in _descendants() if mark in _environment(pid)]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed += pids
        time.sleep(0.02)
        _reap(pids)
    return killed


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal that asks us to end disturb the cleaning up."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_on_signals() -> None:
    """Make every signal that asks us to end raise an exception, as Ctrl-C does, so that we clean up."""
    for number in _END_SIGNALS[1:]:
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _descendants() -> list[int]:
    parents = _parents()
    found, generation = [], {os.getpid()}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        found += generation
    return found


def _parents() -> dict[int, int]:
    """Read parent pids from /proc; it is empty on systems that have none."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(after_name[1])
    return parents


def _environment(pid: int) -> bytes:
    """Read what environment a process was started with; a zombie has none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _reap(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process, see proc_pid_stat(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    is_script = Path(words[0]).name.startswith("python") and len(words) > 1
    return Path(words[1 if is_script else 0]).name


def _proportional_megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
