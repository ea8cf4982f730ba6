"""The memory and the descriptors of each program of a stack, now and at their highest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from skybus.bus.tasks import end_tasks
from tests.system.stack import RunningStack

EVERY = 0.5
"""Seconds between two looks at all processes."""
FACTOR, ROOM = 1.3, 32.0
"""How many times as much memory a process may have afterwards, and MB besides.

The NATS server begins with 22 MB, and any busy minute makes that 60: a heap of Go shrinks slowly.
"""
BACK_WITHIN = 60.0
"""Seconds until it has no more."""
_KB = 1024


class Footprint(NamedTuple):
    """What the processes of one program take; of several the most."""

    rss: float
    """MB in memory."""
    peak: float
    """MB, the most that it had in memory."""
    fds: int


Footprints = dict[str, Footprint]


def footprints(stack: RunningStack) -> Footprints:
    """Look at each process of a stack now, by the name of its program, and at this one, which has the clients."""
    found: Footprints = {"clients": _look(psutil.Process())}
    for process in stack.processes():
        with suppress(psutil.Error, OSError, KeyError):
            name = program_of(process)
            found[name] = _larger(found.get(name), _look(process))
    return found


def program_of(process: psutil.Process) -> str:
    """The program of a process: `queue`, `environment`, `nats-server` …"""
    words = [Path(word).name for word in process.cmdline()[:2]]
    known = [word for word in words if word.startswith("skybus") or word.endswith("-server")]
    return (known or words)[0].removeprefix("skybus-")


def _look(process: psutil.Process) -> Footprint:
    """See proc_pid_status(5); the kernel itself keeps the peak."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    rss, peak = (round(int(lines[name].split()[0]) / _KB, 1) for name in ("VmRSS", "VmHWM"))
    return Footprint(rss, peak, process.num_fds())


def _larger(one: Footprint | None, other: Footprint) -> Footprint:
    return Footprint(*map(max, one, other)) if one else other


@dataclass
class Growth:
    """What each program took before, at its highest and afterwards."""

    before: Footprints = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    """MB, by program."""
    after: Footprints = field(default_factory=dict)
    seconds: float = 0.0
    """Until all was back, or until nobody waited any more."""

    def too_large(self) -> list[str]:
        """Name the programs that take more memory than they may, or have ended."""
        return [
            f"{name}: {self.after[name].rss if name in self.after else 0} MB, {before.rss} MB before"
            for name, before in self.before.items()
            if name not in self.after or self.after[name].rss > FACTOR * before.rss + ROOM
        ]

    def more_descriptors(self, spare: int) -> list[str]:
        """Name the programs that have more than `spare` descriptors more than before."""
        return [
            f"{name}: {self.after[name].fds} descriptors, {before.fds} before"
            for name, before in self.before.items()
            if name in self.after and self.after[name].fds > before.fds + spare
        ]

    def table(self) -> list[str]:
        """One line a program."""
        lines = [f"{'':<16}{'MB before':>10}{'peak':>9}{'after':>9}{'times':>7}{'fds':>12}"]
        for name, before in sorted(self.before.items()):
            after = self.after.get(name, Footprint(0, 0, 0))
            descriptors = f"{before.fds} > {after.fds}"
            lines.append(
                f"{name:<16}{before.rss:>10.1f}{self.peaks.get(name, 0):>9.1f}{after.rss:>9.1f}"
                f"{after.rss / before.rss:>7.2f}{descriptors:>12}"
            )
        return lines


class Watch:
    """Looks at a stack again and again: processes that die take their peaks with them."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self.growth = Growth(footprints(stack))

    async def look(self) -> Footprints:
        """Look now; what was higher than ever before is kept."""
        found = await asyncio.to_thread(footprints, self._stack)
        for name, footprint in found.items():
            self.growth.peaks[name] = max(footprint.peak, self.growth.peaks.get(name, 0.0))
        return found

    async def until_back(self) -> Growth:
        """Wait until every program has its memory back, for a time."""
        begin = time.monotonic()
        while True:
            self.growth.after = await self.look()
            self.growth.seconds = time.monotonic() - begin
            if not self.growth.too_large() or self.growth.seconds > BACK_WITHIN:
                return self.growth
            await asyncio.sleep(EVERY)  # memory that is freed causes no event

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY)  # the pace of the looks


@asynccontextmanager
async def watched(stack: RunningStack) -> AsyncIterator[Watch]:
    """Watch a stack for the time of the block."""
    watch = Watch(stack)
    task = asyncio.create_task(watch._keep_looking())
    try:
        yield watch
    finally:
        await end_tasks([task])
