"""Clients that never rest, faults that hit any part of the stack, and what must be true when it is over."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skybus.bus.api.status import Status
from skybus.bus.errors import ConflictError, NotFoundError, SkybusError, UnavailableError
from skybus.client.client import Client
from tests.system.stack import RunningStack

PARTS = ("queue", "worker", "environment", "auth", "console", "bridge", "nats", "valkey")
LINES = 4
"""Lines that a plan prints."""
FULL = 12
"""Items in the queue above which nobody adds more."""
NOT_QUEUED = (ConflictError, NotFoundError)
"""What is said of an item that runs, has run or was removed."""
PATIENCE = 60
"""Seconds after a fault in which the next item must be done."""


@dataclass
class Ledger:
    """What clients have been told of their items, by mark."""

    added: dict[str, str] = field(default_factory=dict)
    """The item_uid that each mark was added with."""
    perhaps_added: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    perhaps_removed: set[str] = field(default_factory=set)


class Submitter:
    """Adds, moves and removes items, and writes down what it was told."""

    def __init__(self, name: str, client: Client, ledger: Ledger, seed: str) -> None:
        self._name = name
        self._client = client
        self._ledger = ledger
        self._random = random.Random(f"{seed} {name}")
        self._count = 0

    async def run(self) -> None:
        while True:
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
            self._ledger.perhaps_removed.add(mark)
            with suppress(UnavailableError):
                try:
                    await self._client.remove(self._ledger.added[mark])
                    self._ledger.removed.add(mark)
                except NOT_QUEUED:
                    self._ledger.perhaps_removed.discard(mark)

    def _any(self) -> str | None:
        recent = [mark for mark in list(self._ledger.added)[-FULL:] if mark not in self._ledger.removed]
        return self._random.choice(recent) if recent else None


class Faults:
    """Kills or stops a part of the stack, again and again."""

    def __init__(self, stack: RunningStack, client: Client, seed: str) -> None:
        self._stack = stack
        self._client = client
        self._random = random.Random(f"{seed} faults")
        self.said: list[str] = []

    async def run(self, rounds: int) -> None:
        for number in range(rounds):
            done = (await self._client.wait(lambda _: True)).items_in_history
            part, stopped = self._random.choice(PARTS), self._random.choice((0, 0, self._random.uniform(0.05, 2.0)))
            more = self._random.randint(0, 3)
            self.said.append(f"{number}: {part} {f'stopped for {stopped:.2f} s' if stopped else 'killed'}")
            try:
                await self._hit(part, stopped)
            except (LookupError, ProcessLookupError):
                self.said[-1] += ", which was not there"
            await self._client.wait(lambda status, goal=done + more: status.items_in_history >= goal, PATIENCE)

    async def _hit(self, part: str, stopped: float) -> None:
        if not stopped:
            self._stack.kill(part)
            return
        process = self._stack.find(part)
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(stopped)  # the fault itself
        finally:
            process.send_signal(signal.SIGCONT)


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
    runs: Counter[str]
    lines: dict[str, list[int]]

    def check(self) -> None:
        """Nothing lost, nothing done twice, nothing out of order."""
        completed = Counter(mark_of(item) for item in self.history if item["result"]["exit_status"] == "completed")
        attempts = Counter(map(mark_of, self.history))
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
            assert completed[mark] <= self.runs[mark] <= attempts[mark], f"{mark} ran {self.runs[mark]} times"
            self._check_output(mark, is_completed=bool(completed[mark]))
        uids = Counter(item["item_uid"] for item in self.history)
        assert not [uid for uid, count in uids.items() if count > 1], "items that were filed twice"
        starts = [item["result"]["time_start"] for item in self.history]
        assert starts == sorted(starts), "history is not in the order of execution"

    def _check_output(self, mark: str, *, is_completed: bool) -> None:
        lines = self.lines.get(mark, [])
        assert lines.count(0) <= self.runs[mark], f"output of {mark} came twice: {lines}"
        for before, after in zip([None, *lines], lines, strict=False):
            assert after == 0 or after - 1 == before, f"output of {mark} has a gap: {lines}"
        if is_completed:
            assert lines[-LINES:] == list(range(LINES)), f"output of {mark} is not complete: {lines}"


def mark_of(item: dict[str, Any]) -> str:
    return item["args"][0]


async def look(client: Client, ledger: Ledger, runs: Path) -> Outcome:
    """Read everything."""
    queue = await client.queue()
    running = [queue.running_item] if queue.running_item else []
    return Outcome(
        ledger=ledger,
        history=(await client.history()).items,
        queue=[*running, *queue.items],
        runs=Counter(file.name.partition(".")[0] for file in runs.iterdir()),
        lines=await _read_lines(client),
    )


async def _read_lines(client: Client) -> dict[str, list[int]]:
    text = ""
    async with aclosing(client.console(since=0, follow=False)) as chunks:
        async for chunk in chunks:
            text += chunk.text if chunk.source == "worker" else ""  # services write their logs in between
    lines: dict[str, list[int]] = {}
    for line in text.splitlines():
        mark, _, number = line.rpartition(" ")
        if number.isdecimal():
            lines.setdefault(mark, []).append(int(number))
    return lines
