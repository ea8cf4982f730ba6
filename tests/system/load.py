"""Hundreds of clients that work on one stack while a plan runs: `python -m tests.system.load` prints the figures."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from tests.promises import PATIENCE
from tests.seed import SEED
from tests.system.footprint import Growth, watched
from tests.system.paced import NO_POINTS, Lateness, lateness_of, paced_stack, result_of, start_paced
from tests.system.stack import RunningStack

SECONDS = float(os.environ.get("SKYBUS_LOAD_SECONDS", "60"))
CLIENTS = int(os.environ.get("SKYBUS_LOAD_CLIENTS", "400"))
PROCESSES = 4
"""Among which the clients are divided, so that they do not wait for each other."""
WARM_UP = max(SECONDS / 6, 3.0)
"""Seconds of the first wave."""
PERIOD = 0.1
"""Seconds between two points of the plan."""
LATEST, STATUS_P99, ADD_P99 = 0.3, 0.030, 0.120
"""Seconds, on two cores that have nothing else to do."""
SPARE_DESCRIPTORS = 4
"""A pool of connections may have some more than it had at rest."""
ROOT = Path(__file__).parents[2]


@dataclass
class Load:
    """What was measured."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """That each request took, by its name."""
    errors: list[str] = field(default_factory=list)
    lateness: Lateness = NO_POINTS
    plan: str = ""
    """How the plan ended."""
    growth: Growth = field(default_factory=Growth)

    def add(self, printed: bytes) -> None:
        """Add what one process of clients has printed."""
        found = json.loads(printed)
        self.errors += found["errors"]
        for name, seconds in found["seconds"].items():
            self.seconds[name] += seconds

    def percentile(self, name: str, percent: int) -> float:
        """The time within which so many of the requests were answered, in seconds."""
        return quantiles(self.seconds[name], n=100)[percent - 1]

    def lines(self) -> list[str]:
        """The figures, for people."""
        requests = sum(map(len, self.seconds.values()))
        return [
            f"{CLIENTS} clients, {SECONDS:.0f} s: {requests} requests, {len(self.errors)} errors",
            *self.errors[:10],
            f"{'':<12}{'requests':>9}{'median':>9}{'p99':>9}{'longest':>9}  ms",
            *(self._line(name) for name in sorted(self.seconds)),
            f"the plan: {self.plan}, {self.lateness}",
            *self.growth.table(),
            f"looked at {self.growth.seconds:.0f} s after the clients had left",
        ]

    def _line(self, name: str) -> str:
        times = (self.percentile(name, 50), self.percentile(name, 99), max(self.seconds[name]))
        return f"{name:<12}{len(self.seconds[name]):>9}" + "".join(f"{1000 * time:>9.1f}" for time in times)


async def put_under_load(data_dir: Path) -> Load:
    """Start a stack, let the clients work while the plan runs, and measure.

    What the processes take is compared with what they took after a first wave of the same clients.
    """
    load = Load()
    async with paced_stack(data_dir) as stack, stack.client(request_timeout=PATIENCE) as client:
        await _wave(stack, WARM_UP)
        async with watched(stack) as watch:
            uid = await start_paced(client, int(SECONDS / PERIOD), PERIOD)
            for printed in await _wave(stack, SECONDS):
                load.add(printed)
            result = await result_of(client, uid, SECONDS + PATIENCE)
            load.growth = await watch.until_back()
        load.plan = result["exit_status"]
        load.lateness = await lateness_of(client, result["run_uids"][0])
    return load


async def _wave(stack: RunningStack, seconds: float) -> list[bytes]:
    """Connect all clients, let them work, and return what each process has printed."""
    async with AsyncExitStack() as clients:
        processes = [await clients.enter_async_context(_clients(stack, n, seconds)) for n in range(PROCESSES)]
        async with asyncio.timeout(PATIENCE):
            for process in processes:
                assert process.stdout
                assert await process.stdout.readline() == b"connected\n"
        async with asyncio.timeout(seconds + 2 * PATIENCE):
            outputs = await asyncio.gather(*(process.communicate(b"work\n") for process in processes))
        return [printed for printed, _ in outputs]


@asynccontextmanager
async def _clients(stack: RunningStack, number: int, seconds: float) -> AsyncIterator[Process]:
    """Start a process with its share of the clients."""
    share = (CLIENTS + number) // PROCESSES
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.system.load_client", str(stack.data_dir), str(share), str(seconds),
        f"{SEED} {number}",
        stdin=PIPE, stdout=PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def main() -> None:
    print(f"seed {SEED} (SKYBUS_TEST_SEED)")
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        load = asyncio.run(put_under_load(Path(folder)))
    print(*load.lines(), sep="\n")


if __name__ == "__main__":
    main()
