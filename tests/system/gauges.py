"""What each process of a stack takes: memory, file descriptors, threads and tasks, over time."""

from __future__ import annotations

import csv
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import psutil

from skybus.bus.api.health import health_of
from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Empty
from skybus.client.client import Client
from tests.system.stack import RunningStack

SERVICES = ("queue", "standby", "auth", "console", "worker", "environment", "bridge")
PARTS = (*SERVICES, "nats", "valkey")
SAY_TASKS = ("queue", "auth", "console", "worker")
COUNTS = ("fds", "threads", "tasks")


@dataclass(frozen=True)
class Sample:
    """What a process takes at a moment."""

    seconds: float
    """Since the beginning."""
    part: str
    pid: int
    rss: float
    """MB in memory."""
    heap: float
    """MB of these that are no mapped files: what a leak makes grow, whoever else has the same libraries in use."""
    fds: int
    threads: int
    tasks: int
    """Of its event loop; 0 where nobody tells."""


class Gauges:
    """Takes samples and says how they have grown."""

    def __init__(self, stack: RunningStack, client: Client, file: Path) -> None:
        self._stack = stack
        self._parts = [part for part in PARTS if _is_there(stack, part)]
        self._processes: dict[str, psutil.Process] = {}
        self._client = client
        self._born = time.monotonic()
        self._file = file
        self.samples: list[Sample] = []
        with file.open("w") as output:
            csv.writer(output).writerow(field.name for field in fields(Sample))

    async def take(self) -> None:
        """Take one of each process that is there, and write it down at once."""
        now = round(time.monotonic() - self._born, 1)
        if not all(process.is_running() for process in self._processes.values()):
            self._processes = {}  # others may have other parts now
        new: list[Sample] = []
        for part in self._parts:
            with suppress(LookupError, psutil.Error, UnavailableError):  # it is just being started again
                new.append(await self._sample(now, part))
        self.samples += new
        with self._file.open("a") as output:
            csv.writer(output).writerows(asdict(sample).values() for sample in new)

    async def _sample(self, now: float, part: str) -> Sample:
        process = self._processes[part] = self._processes.get(part) or self._stack.find(part)
        tasks = (await self._client.call(health_of(part), Empty())).tasks if part in SAY_TASKS else 0
        rss, heap = _megabytes(process.pid)
        return Sample(now, part, process.pid, rss, heap, process.num_fds(), process.num_threads(), tasks)

    def growth(self, begin: float, length: float) -> list[Growth]:
        """Compare the samples of `length` seconds after `begin`, half-way to the end, and before the end."""
        last = self.samples[-1].seconds - length
        begins = (begin, (begin + last) / 2, last)
        early, middle, late = (
            [sample for sample in self.samples if start <= sample.seconds <= start + length] for start in begins
        )
        return [Growth(part, _of(part, early), _of(part, middle), _of(part, late)) for part in self._parts]


@dataclass(frozen=True)
class Growth:
    """What a part took early, half-way and late."""

    HEADING = f"{'':<12}{'MB':>6}{'later':>7}{'times':>7}{'heap':>7}{'later':>7}{'times':>7}" + "".join(
        f"{what:>12}" for what in COUNTS
    )

    part: str
    early: list[Sample]
    middle: list[Sample]
    late: list[Sample]

    def factor(self, what: str) -> float:
        """How many times as much it is."""
        return _median(self.late, what) / _median(self.early, what)

    def leaks(self) -> list[str]:
        """Of what there is never as little late as there was at most half-way.

        A pool of connections has one more from the first moment on that needs it, and then no more; what leaks goes on
        growing. A pool of threads may get its second one after an hour, so of threads there must be more half-way, too.
        """
        found: list[str] = []
        for what in COUNTS:
            early, middle, late = (
                [getattr(sample, what) for sample in some] for some in (self.early, self.middle, self.late)
            )
            before = max(*early, *middle)
            if min(late) > before and (what != "threads" or min(middle) > max(early)):
                found.append(f"{self.part}: at least {min(late)} {what}, at most {before} before")
        return found

    def line(self) -> str:
        """A row of the table."""
        memory = "".join(
            f"{_median(self.early, what):>{width}.1f}{_median(self.late, what):>7.1f}{self.factor(what):>7.2f}"
            for what, width in (("rss", 6), ("heap", 7))
        )
        counts = [f"{_median(self.early, what):.0f} > {_median(self.late, what):.0f}" for what in COUNTS]
        restarts = len({sample.pid for sample in (*self.early, *self.late)}) - 1
        return f"{self.part:<12}{memory}{''.join(f'{text:>12}' for text in counts)}{' another process' * restarts}"


def _is_there(stack: RunningStack, part: str) -> bool:
    """A standby need not be."""
    try:
        return bool(stack.find(part))
    except LookupError:
        return False


def _of(part: str, samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.part == part]


def _median(samples: list[Sample], what: str) -> float:
    return median(getattr(sample, what) for sample in samples)


def _megabytes(pid: int) -> tuple[float, float]:
    """What is in memory, and what of it is no mapped file; see proc_pid_status(5)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    rss, heap = (round(int(lines[name].split()[0]) / 1024, 2) for name in ("VmRSS", "RssAnon"))
    return rss, heap
