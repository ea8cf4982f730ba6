"""A stack that is attacked while a plan runs and two honest clients work, and what came of it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import nats.errors
import orjson

from skybus.bus.errors import SkybusError
from skybus.bus.settings import CREDENTIALS_DIR, Credentials
from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from tests.system.footprint import Growth, watched
from tests.system.hostile.attack import PERSON
from tests.system.hostile.honest import Experience, NatsWorker, ZmqWorker
from tests.system.hostile.strike import Strike, strike
from tests.system.paced import NO_POINTS, Lateness, lateness_of, paced_stack, result_of, start_paced
from tests.system.stack import RunningStack

SECONDS = float(os.environ.get("SKYBUS_HOSTILE_SECONDS", "600"))
AT_ONCE = int(os.environ.get("SKYBUS_HOSTILE_AT_ONCE", "6"))
"""Attacks that are made at the same time."""
POINTS = 600
FASTEST = 0.1
"""Seconds between two points of the plan, at least."""
CALM = 3.0
"""Seconds that the honest clients work before the first attack."""
LATEST = 0.3
"""Seconds that a point may be late."""
HIGHEST = 800.0
"""MB that no process may ever have; a queue service holds four requests of 64 MB that are still coming."""
PATIENCE = 60.0
_RESTART = re.compile(r"a process has died and is started again.*")
_OWN_LIMIT = re.compile(r"\blimit\b")
"""A service that ends by its own limit says so."""


@dataclass
class Outcome:
    """What came of a siege."""

    points: int
    honest: list[Experience]
    strikes: list[Strike] = field(default_factory=list)
    lateness: Lateness = NO_POINTS
    plan: str = ""
    """How it ended."""
    restarts: list[str] = field(default_factory=list)
    """What the stack's log says of processes that have died."""
    growth: Growth = field(default_factory=Growth)
    stored: dict[str, float] = field(default_factory=dict)
    """MB that each folder of the data directory has more on the disk than before the attacks."""
    other: list[str] = field(default_factory=list)
    """What else went wrong."""

    @property
    def unexpected_restarts(self) -> list[str]:
        """Of processes that have not ended by a limit of their own."""
        return [line for line in self.restarts if not _OWN_LIMIT.search(line)]

    def faults(self) -> list[str]:
        """What must not be, whatever the machine does besides."""
        return [
            *(f"{each.who}: {error}" for each in self.honest for error in each.errors),
            *(wrong for each in self.strikes for wrong in each.wrong),
            *self._output_of_the_plan(),
            *self.unexpected_restarts,
            *self.growth.too_large(),
            *(f"{name}: {peak} MB at its peak" for name, peak in self.growth.peaks.items() if peak > HIGHEST),
            *([] if self.plan == "completed" else [f"the plan: {self.plan}"]),
            *([] if self.lateness.points == self.points else [f"documents of {self.lateness.points} points"]),
            *self.other,
        ]

    def _output_of_the_plan(self) -> list[str]:
        """What the client over NATS saw wrong; the info socket of 0MQ drops what a subscriber does not read in time."""
        follower = self.honest[0]
        missed, repeated = follower.missed(self.points), follower.repeated
        return [f"output of {missed} points missed, of {repeated} repeated"] if missed or repeated else []

    def lines(self) -> list[str]:
        """The figures, for people."""
        return [
            f"the plan: {self.plan}, {self.lateness}",
            *(line for each in self.honest for line in each.lines(self.points)),
            f"{len(self.restarts)} restarts",
            *(f"  {line}" for line in self.restarts[:10]),
            *self.growth.table(),
            f"looked at {self.growth.seconds:.0f} s after the last attack",
            "on the disk: " + ", ".join(f"{name} +{size:.1f} MB" for name, size in self.stored.items()),
            *(f"  {line}" for line in self.other),
        ]


class Siege:
    """Attacks a stack.

    Args:
        names: of the attacks, each of which is made before any is made again.
        seconds: how long attacks begin.
        at_once: attacks at the same time.
    """

    def __init__(self, names: Sequence[str], seconds: float, at_once: int, seed: str) -> None:
        self._names = list(names)
        self._seconds = seconds
        self._at_once = at_once
        self._random = random.Random(seed)
        self._deck: list[str] = []

    async def hold(self, data_dir: Path) -> Outcome:
        """Start a stack, let the plan run and the honest clients work, attack, and measure."""
        period = max((self._seconds + CALM) / POINTS, FASTEST)
        async with AsyncExitStack() as scope:
            stack = await scope.enter_async_context(paced_stack(data_dir))
            await add_person(stack)
            client = await scope.enter_async_context(stack.client(request_timeout=PATIENCE))
            nats_worker = NatsWorker(*[await scope.enter_async_context(stack.client()) for _ in range(2)])
            zmq_worker = ZmqWorker(stack)
            scope.callback(zmq_worker.close)
            outcome = Outcome(int((self._seconds + CALM) / period), [nats_worker.experience, zmq_worker.experience])
            side = [asyncio.create_task(_read_log(stack, outcome.restarts))]
            side += [asyncio.create_task(each.watch()) for each in (nats_worker, zmq_worker)]
            side += [asyncio.create_task(nats_worker.read_documents())]
            work = [asyncio.create_task(each.work()) for each in (nats_worker, zmq_worker)]
            try:
                uid = await start_paced(client, outcome.points, period)
                await asyncio.sleep(CALM)  # the time without attacks
                watch, stored = await scope.enter_async_context(watched(stack)), _stored(stack.data_dir)
                await self._attack(stack.data_dir, outcome)
                await self._see_the_end(client, uid, outcome)
                await end_tasks(work)
                await _clear(client, outcome)
                outcome.growth = await watch.until_back()
                outcome.stored = {name: size - stored[name] for name, size in _stored(stack.data_dir).items()}
                outcome.other += [f"escape sequences in {name}" for name in _logs_with_escapes(stack.data_dir)]
                outcome.other += [f"ended: {task!r}" for task in side if task.done()]
            finally:
                await end_tasks([*work, *side])
        return outcome

    async def _attack(self, data_dir: Path, outcome: Outcome) -> None:
        end = time.monotonic() + self._seconds
        await asyncio.gather(*(self._lane(data_dir, end, outcome) for _ in range(self._at_once)))

    async def _lane(self, data_dir: Path, end: float, outcome: Outcome) -> None:
        while time.monotonic() < end:
            name, seed = self._next(), str(self._random.random())
            outcome.strikes.append(await strike(data_dir, name, seed))

    def _next(self) -> str:
        if not self._deck:
            self._deck = self._random.sample(self._names, len(self._names))
        return self._deck.pop()

    async def _see_the_end(self, client: Client, uid: str, outcome: Outcome) -> None:
        try:
            result = await result_of(client, uid, PATIENCE)
            outcome.plan = result["exit_status"]
            outcome.lateness = await lateness_of(client, result["run_uids"][0])
        except (SkybusError, TimeoutError, LookupError, nats.errors.Error) as error:
            outcome.other.append(f"the end of the plan was not seen: {error!r}"[:500])


async def _clear(client: Client, outcome: Outcome) -> None:
    """Take out what attackers have left; it is their right to add items."""
    try:
        await client.clear()
        await client.clear_history()
    except (SkybusError, nats.errors.Error) as error:
        outcome.other.append(f"the queue was not cleared: {error!r}"[:500])


def _stored(data_dir: Path) -> dict[str, float]:
    """MB on the disk, by folder."""
    return {name: sum(map(_size, (data_dir / name).rglob("*"))) / 1e6 for name in ("logs", "nats", "valkey")}


def _size(path: Path) -> int:
    with suppress(OSError):  # a server has just removed it
        return path.stat().st_blocks * 512
    return 0


def _logs_with_escapes(data_dir: Path) -> list[str]:
    """The logs that a terminal would obey."""
    return [log.name for log in sorted((data_dir / "logs").glob("*.log")) if b"\x1b" in log.read_bytes()]


async def _read_log(stack: RunningStack, restarts: list[str]) -> None:
    assert stack.process.stdout
    async for line in stack.process.stdout:
        if found := _RESTART.search(line.decode(errors="replace")):
            restarts.append(found[0])  # noqa: PERF401 - it never ends
    await asyncio.Event().wait()


async def add_person(stack: RunningStack) -> None:
    """Give the NATS server one more user, with the rights of the operator's connection and the group `primary`."""
    path = stack.data_dir / "nats" / "server.conf"
    config = orjson.loads(path.read_bytes())
    users = config["accounts"]["PEOPLE"]["users"]
    (operator,) = (user for user in users if user.get("user") == "operator")
    person = orjson.loads(orjson.dumps(operator).replace(b"operator", PERSON.encode()))
    users.append(person)
    path.write_bytes(orjson.dumps(config))
    known = Credentials(user=PERSON, password=person["password"])
    (stack.data_dir / CREDENTIALS_DIR / f"{PERSON}.json").write_text(known.model_dump_json(exclude_none=True))
    stack.kill("nats", signal.SIGHUP)
    async with stack.client(user=PERSON, connect_timeout=PATIENCE) as client:
        await client.status()
