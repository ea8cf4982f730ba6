"""Ways to make a child process, and what such a child has inherited. A module: spawned children import it."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOOK = "cat /proc/$$/status; for fd in /proc/$$/fd/*; do echo fd ${fd##*/} $(readlink $fd); done"
ENDLESS = "exec sleep 60"
PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)
"""Any Python ignores them."""


def look(path: str) -> None:
    """Write what this process is, as `LOOK` does."""
    links = [f"fd {number} {target}" for number, target in descriptors()]
    handlers = [f"handler {number} {signal.getsignal(number)!r}" for number in (signal.SIGINT, signal.SIGTERM)]
    wakeup = f"wakeup {signal.set_wakeup_fd(-1)}"
    Path(path).write_text("\n".join([Path("/proc/self/status").read_text(), *links, *handlers, wakeup]))


def fork(call: Callable[..., object], *args: object) -> int:
    pid = os.fork()
    if pid == 0:
        call(*args)
        os._exit(0)
    return pid


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def processes(method: str) -> multiprocessing.context.BaseContext:
    return multiprocessing.get_context(method)


def start(
    kind: str, call: Callable[..., object], args: tuple[object, ...], script: str
) -> tuple[int, Callable[[], int]]:
    """Start a child that calls a function, or runs a shell script; return its pid, and what waits for its end."""
    if kind in ("process by fork", "process by spawn", "process by forkserver"):
        process = processes(kind.rpartition(" ")[2]).Process(target=call, args=args)  # type: ignore[attr-defined]
        process.start()
        return process.pid, lambda: process.join() or process.exitcode
    if kind in ("subprocess", "subprocess with preexec_fn"):
        preexec = os.getpid if "preexec" in kind else None
        popen = subprocess.Popen(shell(script), preexec_fn=preexec)
        return popen.pid, popen.wait
    if kind == "posix_spawn":
        pid = os.posix_spawn("/bin/sh", shell(script), os.environ)
    else:
        pid = fork(call, *args)
    return pid, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


STARTED = (
    "fork", "process by fork", "process by spawn", "process by forkserver",
    "subprocess", "subprocess with preexec_fn", "posix_spawn",
)  # fmt: skip
"""Children that have a pid at once."""
POOLS = ("pool by fork", "pool by spawn", "pool by forkserver")
KINDS = (*STARTED, "system", *POOLS)


def seen_by(kind: str) -> str:
    """Make a child, and return what it has seen."""
    with tempfile.NamedTemporaryFile("r") as file:
        script = f"({LOOK}) > {file.name}"
        if kind in POOLS:
            with concurrent.futures.ProcessPoolExecutor(1, processes(kind.rpartition(" ")[2])) as pool:
                pool.submit(look, file.name).result()
        elif kind == "system":
            os.system(script)
        else:
            start(kind, look, (file.name,), script)[1]()
        return file.read()


def faults(kind: str) -> list[str]:
    """What a child of this kind has inherited and should not have."""
    folder, tcp, seen = our_folder(), tcp_sockets(), seen_by(kind)
    found = [] if "Name:" in seen else ["nothing seen"]
    for line in seen.splitlines():
        what, _, rest = line.partition(" ")
        match what.split():
            case ["fd"]:
                number, _, target = rest.partition(" ")
                is_output = number in "12" and target.endswith("console.fifo")
                is_wrong = (target.startswith(folder) and not is_output) or target in tcp
            case ["handler"]:
                is_wrong = any(ours in line for ours in ("skybus", "bluesky", "kernel"))
            case ["wakeup"]:
                is_wrong = rest != "-1"
            case ["SigIgn:", ignored]:
                is_wrong = any(int(ignored, 16) >> (n - 1) & 1 for n in range(1, 32) if n not in PYTHONS)
            case ["SigBlk:", blocked]:
                is_wrong = int(blocked, 16) != 0
            case _:
                is_wrong = False
        found += [line] if is_wrong else []
    return found


def end_at_once(kind: str, number: int) -> int:
    """Send a signal to a child that has just been started, and return how it ended."""
    pid, wait = start(kind, time.sleep, (60,), ENDLESS)
    os.kill(pid, number)
    return wait()


def descriptors() -> list[tuple[str, str]]:
    """The open ones of this process, each with what it refers to."""
    return [(link.name, str(link.readlink())) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def our_folder() -> str:
    """Of the environment: where its output goes."""
    return str(Path("/proc/self/fd/1").readlink().parent)


def tcp_sockets() -> set[str]:
    """Those of this process, as its descriptors refer to them."""
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/self/net", name).read_text().splitlines()[1:]]
    return {f"socket:[{line.split()[9]}]" for line in lines} & {target for _, target in descriptors()}


def hold_for(seconds: float) -> int:
    """Leave a forked child behind, and return its pid."""
    return fork(time.sleep, seconds)
