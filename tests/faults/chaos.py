"""Clients that never rest, faults that hit any part of the stack, and what must be true when it is over."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from skybus.bus.api.console import ConsoleChunk
from skybus.bus.api.status import STATUS_GET, Status
from skybus.bus.errors import ConflictError, NotFoundError, SkybusError, UnavailableError
from skybus.bus.messages import Empty
from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from tests.promises import PATIENCE
from tests.system.stack import RunningStack

STARTUP = Path(__file__).parent / "startup_for_chaos"
SUBMITTERS = ("ann", "bob", "cem")
PARTS = ("queue", "standby", "worker", "environment", "auth", "console", "bridge", "nats", "valkey")
LINES = 4
"""Lines that a plan prints."""
FULL = 12
"""Items in the queue above which nobody adds more."""
NOT_QUEUED = (ConflictError, NotFoundError)
"""What is said of an item that runs, has run or was removed."""


@dataclass
class Ledger:
    """What clients have been told of their items, by mark."""

    added: dict[str, str] = field(default_factory=dict)
    """The item_uid that each mark was added with."""
    perhaps_added: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    perhaps_removed: set[str] = field(default_factory=set)
    """By a request of which nobody knows what has become."""


class Submitter:
    """Adds, moves and removes items, and writes down what it was told."""

    def __init__(self, name: str, client: Client, ledger: Ledger, seed: str) -> None:
        self._name = name
        self._client = client
        self._ledger = ledger
        self._random = random.Random(f"{seed} {name}")
        self._count = 0

    async def run(self, enough: asyncio.Event) -> None:
        """Work until it is enough; a request that was given up could still be carried out when all seems at rest."""
        while not enough.is_set():
            await self._client.wait(lambda status: status.items_in_queue < FULL)
            await self._random.choice((self._add, self._add, self._add, self._move, self._remove))()

    async def _add(self) -> None:
        self._count += 1
        mark = f"{self._name}-{self._count}"
        self._ledger.perhaps_added.add(mark)
        with suppress(UnavailableError):
            item = await self._client.add("leave_mark", mark, lines=LINES)
            self._ledger.added[mark] = item["item_uid"]

    async def _move(self) -> None:
        if mark := self._any():
            with suppress(UnavailableError, *NOT_QUEUED):
                await self._client.move(self._ledger.added[mark], self._random.choice(("front", "back")))

    async def _remove(self) -> None:
        if mark := self._any():
            with suppress(UnavailableError, *NOT_QUEUED):
                await self._remove_item(mark)

    async def _remove_item(self, mark: str) -> None:
        try:
            await self._client.remove(self._ledger.added[mark])
        except NOT_QUEUED:
            raise
        except BaseException:
            self._ledger.perhaps_removed.add(mark)
            raise
        self._ledger.removed.add(mark)

    def _any(self) -> str | None:
        recent = [mark for mark in list(self._ledger.added)[-FULL:] if mark not in self._ledger.removed]
        return self._random.choice(recent) if recent else None


class Faults:
    """Kills or stops a part of the stack, again and again, and looks how long nobody leads when it is who led."""

    def __init__(self, stack: RunningStack, client: Client, seed: str) -> None:
        self._stack = stack
        self._client = client
        self._random = random.Random(f"{seed} faults")
        self.said: list[str] = []
        self.outages: list[float] = []
        """Seconds from a fault of who led to the next answer."""

    async def run(self, rounds: int) -> None:
        for number in range(rounds):
            done = (await self._client.wait(lambda _: True)).items_in_history
            part, stopped = self._random.choice(PARTS), self._random.choice((0, 0, self._random.uniform(0.05, 2.0)))
            more = self._random.randint(0, 3)
            self.said.append(f"{number}: {part} {f'stopped for {stopped:.2f} s' if stopped else 'killed'}")
            try:
                await self._hit(part, stopped)
            except (LookupError, psutil.Error):
                self.said[-1] += ", which was not there"
            print(self.said[-1], flush=True)
            await self._client.wait(lambda status, goal=done + more: status.items_in_history >= goal, PATIENCE)

    async def _hit(self, part: str, stopped: float) -> None:
        process = self._stack.find(part)
        process.send_signal(signal.SIGSTOP if stopped else signal.SIGKILL)
        outage = asyncio.create_task(self._see_outage()) if part == "queue" else None
        if stopped:
            try:
                await asyncio.sleep(stopped)  # the fault itself
            finally:
                process.send_signal(signal.SIGCONT)
        if outage:
            self.outages.append(await outage)
            self.said[-1] += f", answered after {self.outages[-1]:.2f} s"

    async def _see_outage(self) -> float:
        begin = time.monotonic()
        while True:
            with suppress(UnavailableError):
                await self._client.bus.call(STATUS_GET, Empty(), timeout=0.2)
                return time.monotonic() - begin
            await asyncio.sleep(0.02)  # nobody may be there to refuse it


async def live_through(
    faults: Coroutine[Any, Any, None], client: Client, reader: Client, runs: Path, seed: str
) -> None:
    """Let clients work until the faults are over; then nothing is lost, and nothing was done twice.

    The reader waits for `PATIENCE` for each answer; an election may be going on.
    """
    ledger, followed, enough = Ledger(), list[int](), asyncio.Event()
    await client.open_environment()
    work = [asyncio.create_task(Submitter(name, client, ledger, seed).run(enough)) for name in SUBMITTERS]
    care = [asyncio.create_task(each) for each in (keep_running(client), follow_console(reader, followed))]
    hits = asyncio.create_task(faults)
    try:
        ended, _ = await asyncio.wait([*work, *care, hits], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
        enough.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*work)
        await client.wait("queue_drained", PATIENCE)
        (await look(reader, ledger, runs, followed)).check()
    finally:
        await end_tasks([*work, *care, hits])


async def keep_running(client: Client) -> None:
    """Open the environment and start the queue, whenever they are not."""
    while True:
        status = await client.wait(_needs_care)
        try:
            if status.worker_environment_exists:
                await client.start()
            else:
                await client.open_environment()
        except (SkybusError, TimeoutError):
            continue  # something was hit meanwhile


def _needs_care(status: Status) -> bool:
    return status.manager_state == "idle" and bool(status.items_in_queue or not status.worker_environment_exists)


@dataclass
class Outcome:
    """What there is when everything has come to rest."""

    ledger: Ledger
    history: list[dict[str, Any]]
    queue: list[dict[str, Any]]
    runs: list[Run]
    """In the order in which they began."""
    chunks: list[ConsoleChunk]
    """The console stream, as it is stored."""
    followed: list[int] | None
    """The sequence numbers that a client has seen which followed the console all the time, if there was one."""

    def check(self) -> None:
        """Nothing lost, nothing done twice, nothing out of order."""
        self._check_items()
        self._check_runs()
        self._check_console()

    def _check_items(self) -> None:
        completed = Counter(mark_of(item) for item in self.history if item["result"]["exit_status"] == "completed")
        waiting = Counter(map(mark_of, self.queue))
        known = self.ledger.added.keys() | self.ledger.perhaps_added
        assert not (completed + waiting).keys() - known, "items that nobody has added"
        for mark in known:
            there = completed[mark] + waiting[mark]
            assert there <= 1, f"{mark} is there {there} times"
            if mark in self.ledger.removed:
                assert there == 0, f"{mark} was removed and is there"
            elif mark in self.ledger.added and mark not in self.ledger.perhaps_removed:
                assert there == 1, f"{mark} was added and is gone"
        uids = Counter(item["item_uid"] for item in (*self.history, *self.queue))
        assert not [uid for uid, count in uids.items() if count > 1], "items that are there twice"

    def _check_runs(self) -> None:
        """Each attempt has left one file at most, one that was completed has left it, and in the order of history."""
        attempts = Counter(run.attempt for run in self.runs)
        assert not [attempt for attempt, count in attempts.items() if count > 1], "attempts that ran twice"
        filed = [item["item_uid"] for item in self.history]
        ran = [run.item_uid for run in self.runs]
        completed = {item["item_uid"] for item in self.history if item["result"]["exit_status"] == "completed"}
        assert not completed - set(ran), "items that were completed and did not run"
        assert ran == [uid for uid in filed if uid in set(ran)], (
            "runs and history are not the same, or in another order"
        )
        starts = [item["result"]["time_start"] for item in self.history]
        assert starts == sorted(starts), "history is not in the order of execution"

    def _check_console(self) -> None:
        """Each attempt has printed its lines once, from the first on, and all of them if it was completed."""
        numbers = [chunk.seq for chunk in self.chunks]
        assert numbers == list(range(1, len(numbers) + 1)), "the console stream has a gap"
        if self.followed is not None:
            _check_followed(self.followed[: len(numbers)], numbers)
        lines = read_lines(self.chunks)
        for item in self.history:
            printed = lines.pop(item["item_uid"], [])
            expected = [f"{mark_of(item)} {number}" for number in range(LINES)]
            is_completed = item["result"]["exit_status"] == "completed"
            assert printed == expected[: LINES if is_completed else len(printed)], f"{item} has printed {printed}"
        assert not lines, "output of items that were not filed"


def _check_followed(seen: list[int], stored: list[int]) -> None:
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(seen, stored, strict=False)))
    assert seen == stored, f"who followed the console has seen {seen[alike : alike + 5]} after {alike}"


class Run(NamedTuple):
    """What a plan leaves each time it is run."""

    mark: str
    item_uid: str
    attempt: str


def mark_of(item: dict[str, Any]) -> str:
    return item["args"][0]


async def look(client: Client, ledger: Ledger, runs: Path, followed: list[int] | None = None) -> Outcome:
    """Read everything."""
    queue = await client.queue()
    running = [queue.running_item] if queue.running_item else []
    async with aclosing(client.console(since=0, everything=True, follow=False)) as chunks:
        stored = [chunk async for chunk in chunks]
    async with asyncio.timeout(PATIENCE):
        while followed and followed[-1] < stored[-1].seq:
            await asyncio.sleep(0.01)  # what is stored is on its way
    return Outcome(
        ledger=ledger,
        history=(await client.history()).items,
        queue=[*running, *queue.items],
        runs=[
            Run(*file.name.split(".")[:3]) for file in sorted(runs.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        ],
        chunks=stored,
        followed=followed,
    )


def read_lines(chunks: list[ConsoleChunk]) -> dict[str, list[str]]:
    """What plans have printed, by item; services write their logs in between."""
    texts: dict[str, str] = {}
    for chunk in chunks:
        if chunk.source == "worker" and chunk.item_uid:
            texts[chunk.item_uid] = texts.get(chunk.item_uid, "") + chunk.text
    return {uid: [line for line in text.splitlines() if is_of_plan(line)] for uid, text in texts.items()}


def is_of_plan(line: str) -> bool:
    """Whether a plan has printed it; the environment's log comes the same way."""
    mark, _, number = line.rpartition(" ")
    return number.isdecimal() and mark.partition("-")[2].isdecimal()


async def follow_console(client: Client, seen: list[int]) -> None:
    """Write down the sequence numbers of all output as it comes."""
    async with aclosing(client.console(since=0, everything=True)) as chunks:
        async for chunk in chunks:
            seen.append(chunk.seq)  # noqa: PERF401 - it never ends
