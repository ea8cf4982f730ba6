"""A process dies between any two steps of an item's life (design, section 5), and the outcome is that of the table.

How the points are enumerated: each process under test counts its external steps (`crash_steps.py`): every message that
it sends to NATS, every command to Redis, every change of a file that outlives it. First the item's life is lived
undisturbed, and what each process has passed is written down; that list is the list of points, nothing is chosen from
it by hand. Then the life is lived once for each point, and the process kills itself there with SIGKILL: before the step
(what it had not sent yet is lost with it) or after it (the step has left the process). It is started again at once, and
clients repeat what was not answered under the same request id, as `skybus.client` does. In some cases not the process
dies there but a server beside it, NATS or Valkey, while the process goes on.

The number of some steps depends on the clock (`AT_TIMES`), such as that of the status, of which several become one. A
point that is not reached in three lives is printed; it must be at one of these.

With `-m slow` every point is lived through. Otherwise it is a choice: for the queue service in the life of a plan, and
for auth, the end of each step once; elsewhere, where each life needs an environment of its own, the points around the
step on which the outcome turns. With `SKYBUS_CRASH_POINT="send evt.queue #1"`, `-m slow` runs the points named so.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from skybus.bus.api.status import Status
from skybus.bus.errors import SkybusError
from skybus.bus.headers import MESSAGE_ID
from skybus.client.status import CONDITIONS
from tests.faults.crash_house import HOLD, House, Outcome
from tests.faults.crash_steps import AFTER, BEFORE, Point, read_trace
from tests.promises import PATIENCE

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("fork_server")]

HOUSES = 2
"""Houses in which lives are lived at the same time: much of a life with a death is waiting."""
LATE = 3.0
"""Seconds after the end of a life in which a process may still come to its point."""
QUIET = 0.3
"""Seconds without a step after which an undisturbed life is over."""
TRIES = 3
ONLY = os.environ.get("SKYBUS_CRASH_POINT", "")
AT_TIMES = (
    "send evt.status",
    "send int.state",
    "reply to int.environment.state",
    "spool is delivered",
    "send console.worker",
    "redis SCRIPT LOAD",
)
"""Steps whose number depends on the clock: several become one, or another process has done them before it died."""
FIRST, SECOND = "first", "second"

REPEATED = "Test-Repeated"

Trace = list[Point]
Life = Callable[[House, Callable[[], None]], Awaitable[list[str]]]


@dataclass(frozen=True)
class Case:
    """A process, what it is to live through, and what must be then."""

    name: str
    role: str
    live: Life
    """Is given what arms the process; returns the uids of the items that were acknowledged."""
    check: Callable[[Outcome, Trace], None]
    is_quick: Callable[[Point], bool] | None = None
    """Which of the points are lived through each time the tests are run; with `-m slow` it is all of them."""
    life_to_enumerate: Life | None = None
    """By default the same."""
    victim: str = ""
    """Who dies; by default the process itself."""


async def add_both(house: House) -> list[str]:
    """Two items; the life of the first is looked at, the second must run behind it."""
    second = await house.add(SECOND)
    return [await house.add(FIRST, pos="front"), second]


async def live(house: House, arm: Callable[[], None]) -> list[str]:
    """Two items are added and run."""
    arm()
    uids = await add_both(house)
    await house.start()
    await house.until(is_over)
    return uids


async def live_alone(house: House, arm: Callable[[], None]) -> list[str]:
    """One item is added and run."""
    arm()
    uids = [await house.add(FIRST)]
    await house.start()
    await house.until(is_over)
    return uids


async def live_with_repeated_reports(house: House) -> list[str]:
    """The same, and each report comes three times, under ids by which JetStream cannot see that it is the same."""

    async def repeat(message: Msg) -> None:
        if REPEATED not in (message.headers or {}):
            for number in range(2):
                head = {MESSAGE_ID: f"repeated-{number}-{uuid.uuid4()}", REPEATED: "yes"}
                await house.bus.jetstream.publish(message.subject, message.data, headers=head)

    subscription = await house.bus.subscribe(house.bus.subjects.life("report"), repeat)
    try:
        return await live(house, lambda: None)
    finally:
        await house.bus.unsubscribe(subscription)


async def live_with_a_lost_report(house: House) -> list[str]:
    """The first plan ends while there is no queue service, and the stream does not keep its report."""
    (house.runs / HOLD).touch()
    uids = await add_both(house)
    await house.start_until_it_runs()
    reported = asyncio.Event()

    async def note(_: Msg) -> None:
        reported.set()

    async with house.without("queue"):
        subscription = await house.bus.subscribe(house.bus.subjects.life("report"), note)
        (house.runs / HOLD).unlink()
        await reported.wait()
        await house.bus.unsubscribe(subscription)
        await house.bus.jetstream.purge_stream(house.bus.subjects.life_stream)
    await house.until(is_over)
    return uids


async def live_with_another_queue_service(house: House, arm: Callable[[], None]) -> list[str]:
    """The same, and auth is asked again about each item before it runs, since the queue service is not the same."""
    arm()
    uids = await add_both(house)
    await house.kill("queue")
    await house.start()
    await house.until(is_over)
    return uids


async def lose_environment(house: House, arm: Callable[[], None]) -> list[str]:
    """The environment is killed while the first item runs."""
    (house.runs / HOLD).touch()
    uids = await add_both(house)
    await house.start_until_it_runs()
    arm()
    await house.kill("environment")
    await house.until(is_over)
    return uids


def is_over(status: Status) -> bool:
    """Nothing runs and nothing will: the items have run, or the environment is gone."""
    is_at_rest = status.manager_state == "idle" and not status.running_item_uid
    is_done = status.items_in_history and not status.items_in_queue
    return is_at_rest and bool(is_done or not status.worker_environment_exists)


def both_ran(outcome: Outcome, _: Trace) -> None:
    assert filed(outcome) == [(FIRST, "completed"), (SECOND, "completed")]
    assert not outcome.queue
    assert outcome.status.worker_environment_exists
    assert Counter(run.partition(".")[0] for run in outcome.runs) == {FIRST: 1, SECOND: 1}


def first_was_lost(outcome: Outcome, _: Trace) -> None:
    """Failed with the signal named, at the front again, queue stopped, environment closed."""
    first_goes_back(outcome)
    assert "SIGKILL" in outcome.history[0]["result"]["msg"]


def lost_with_supervisor(outcome: Outcome, trace: Trace) -> None:
    """The same, but that only the parent of a process can see how it ends: if that is dead too, nobody knows."""
    first_goes_back(outcome)
    was_written = Point(AFTER, "spool int.life.exited", 1) in trace
    why = outcome.history[0]["result"]["msg"]
    assert "SIGKILL" in why or (not was_written and "how it ended could not be seen" in why)


def first_goes_back(outcome: Outcome) -> None:
    assert filed(outcome) == [(FIRST, "failed")]
    assert marks(outcome.queue) == [FIRST, SECOND]
    assert not outcome.status.worker_environment_exists
    assert not outcome.status.queue_autostart_enabled


def lost_with_environment(outcome: Outcome, trace: Trace) -> None:
    """As `first_was_lost`, unless the report was in the spool: then the first item is done."""
    if Point(AFTER, "spool int.life.report", 1) not in trace:
        first_was_lost(outcome, trace)
        return
    assert filed(outcome)[0] == (FIRST, "completed")
    is_all_done = filed(outcome)[1:] == [(SECOND, "completed")]
    if not is_all_done:
        assert filed(outcome)[1:] in ([], [(SECOND, "failed")])
        assert all("SIGKILL" in item["result"]["msg"] for item in outcome.history[1:])
    assert marks(outcome.queue) == ([] if is_all_done else [SECOND])
    assert not outcome.status.worker_environment_exists


def filed(outcome: Outcome) -> list[tuple[str, str]]:
    return [(item["args"][0], item["result"]["exit_status"]) for item in outcome.history]


def marks(items: Iterable[dict[str, Any]]) -> list[str]:
    return [item["args"][0] for item in items]


def nothing_lost_or_doubled(outcome: Outcome, uids: list[str]) -> None:
    places = Counter(item["item_uid"] for item in [*outcome.queue, *outcome.history, outcome.running] if item)
    assert set(places.values()) <= {1}, "an item is in two places"
    assert places.keys() >= set(uids), "an item is gone"
    starts = [item["result"]["time_start"] for item in outcome.history]
    assert starts == sorted(starts), "history is not in the order of execution"
    assert set(Counter(outcome.runs).values()) <= {1}, "a plan ran twice for one attempt"
    runs = Counter(run.partition(".")[0] for run in outcome.runs)
    attempts, waiting = Counter(marks(outcome.history)), Counter(marks(outcome.queue))
    completed = Counter(mark for mark, status in filed(outcome) if status == "completed")
    for mark in attempts.keys() | waiting.keys():
        assert completed[mark] + waiting[mark] == 1, f"{mark} is there {completed[mark] + waiting[mark]} times"
        assert completed[mark] <= runs[mark] <= attempts[mark], f"{mark} ran {runs[mark]} times"


def is_boundary(point: Point) -> bool:
    """After each step once; before the next one only what was not sent yet is different."""
    return point.when == AFTER and not point.step.startswith(AT_TIMES)


def is_near(*steps: str) -> Callable[[Point], bool]:
    """Before and after the steps on which the outcome turns; each life takes an environment of its own."""
    return lambda point: point.number == 1 and point.step.startswith(steps)


CASES = [
    Case("queue", "queue", live, both_ran, is_boundary),
    Case("auth", "auth", live_with_another_queue_service, both_ran, is_boundary),
    Case("queue-after-a-loss", "queue", lose_environment, first_was_lost, is_near("redis commit")),
    Case("supervisor-after-a-loss", "worker", lose_environment, lost_with_supervisor, is_near("spool int.life.exited")),
    Case("environment", "environment", live, lost_with_environment, is_near("spool int.life.report"), live_alone),
    Case("nats-beside-queue", "queue", live, both_ran, is_near("send int.environment.run"), victim="nats"),
    Case("nats-beside-environment", "environment", live, both_ran, is_near("send int.life.report"), victim="nats"),
    Case("nats-beside-supervisor", "worker", lose_environment, first_was_lost, victim="nats"),
    Case("redis-beside-queue", "queue", live, both_ran, is_near("redis commit"), victim="valkey"),
    Case("redis-beside-queue-after-a-loss", "queue", lose_environment, first_was_lost, victim="valkey"),
]
QUICK = [case for case in CASES if case.is_quick]


async def enumerate_points(house: House, case: Case, lives: int) -> list[Point]:
    """What is passed in so many lives without a death: some steps come or not."""
    undisturbed = replace(case, live=case.life_to_enumerate or case.live)
    traces = [(await undergo(house, undisturbed, None))[0] for _ in range(lives)]
    steps = dict.fromkeys(point._replace(when=BEFORE) for trace in traces for point in trace)
    return [point._replace(when=when) for point in steps for when in (BEFORE, AFTER)]


async def undergo(house: House, case: Case, point: Point | None) -> tuple[Trace, bool]:
    """Live once, with a death at a point if there is one; returns what was passed, and whether that was reached."""
    victim = case.victim or case.role
    traces: list[Path] = []
    died: list[asyncio.Future[None]] = []

    def arm() -> None:
        died.append(house.died(victim))
        traces.append(house.order(case.role, point, victim))

    async with asyncio.timeout(PATIENCE):
        uids = await case.live(house, arm)
        if point:
            await asyncio.wait(died, timeout=LATE)
        await house.until_servers_are_up()
        await house.until_drained()
        if point is None:
            await until_quiet(traces[0])
        reached = not house.withdraw(case.role)
        assert died[0].done() or not reached, "nobody has died"
        died[0].cancel()
        if reached and victim == "environment":  # it may have died when all was over
            await house.until(CONDITIONS["environment_closed"])
        await house.until(is_over)
        trace = read_trace(traces[0])
        outcome = await house.look()
        nothing_lost_or_doubled(outcome, uids)
        if reached or case.role != "environment":
            case.check(outcome, trace)
        await go_on(house)
        outcome = await house.look()
        nothing_lost_or_doubled(outcome, uids)
        assert not outcome.queue, "the queue does not go on"
        await house.forget()
    return trace, reached


async def until_quiet(trace: Path) -> None:
    """Wait until no step follows any more: nobody can know which is the last."""
    before = None
    while (passed := read_trace(trace)) != before:
        before = passed
        await asyncio.sleep(QUIET)


async def go_on(house: House) -> None:
    """Open the environment again and run what is in the queue, as a user would."""
    (house.runs / HOLD).unlink(missing_ok=True)
    status = await house.client.status()
    if not status.worker_environment_exists:
        await house.client.open_environment(timeout=PATIENCE)
    if status.items_in_queue:
        await house.start()
    await house.until(CONDITIONS["queue_drained"])
    await house.until_drained()


class Campaign:
    """Points of a case, lived through in several houses at a time."""

    def __init__(self, houses: Houses, case: Case) -> None:
        self._houses = houses
        self._case = case
        self._failures: list[str] = []
        self._unreached: list[Point] = []

    async def run_quick(self) -> None:
        """Some points."""
        assert self._case.is_quick
        await self._run(self._case.is_quick, lives=1)

    async def run_all(self) -> None:
        """Every point, or those that were asked for."""
        await self._run(lambda point: ONLY in str(point), lives=2)

    async def _run(self, is_wanted: Callable[[Point], bool], lives: int) -> None:
        async with self._houses.use(0) as house:
            points = await enumerate_points(house, self._case, lives)
        wanted = [point for point in points if is_wanted(point)]
        assert wanted, "there is no such point"
        todo = iter(wanted)
        began = time.monotonic()
        await asyncio.gather(*(self._work(number, todo) for number in range(HOUSES)))
        print(f"{len(points)} points, {len(wanted)} lived through in {time.monotonic() - began:.1f} s")
        print(*(f"not reached: {point}" for point in self._unreached), sep="\n")
        assert not self._failures, "\n\n".join(self._failures)
        assert all(point.step.startswith(AT_TIMES) for point in self._unreached), "steps that are there only at times"

    async def _work(self, number: int, todo: Iterable[Point]) -> None:
        for point in todo:
            try:
                async with self._houses.use(number) as house:
                    await self._reach(house, point)
            except (AssertionError, TimeoutError, SkybusError) as error:
                self._failures.append(f"{point}: {type(error).__name__}: {error}")

    async def _reach(self, house: House, point: Point) -> None:
        for _ in range(TRIES):
            _, reached = await undergo(house, self._case, point)
            if reached:
                return
        self._unreached.append(point)


class Houses:
    """Houses that are used by one test after the other; one in which something went wrong is given up."""

    def __init__(self) -> None:
        self._up: dict[int, tuple[AsyncExitStack, House]] = {}

    @asynccontextmanager
    async def use(self, number: int) -> AsyncIterator[House]:
        if number not in self._up:
            stack = AsyncExitStack()
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sky"))
            self._up[number] = stack, await stack.enter_async_context(House(Path(folder)).up())
        stack, house = self._up[number]
        try:
            yield house
        except BaseException:
            print(house.last_words())
            del self._up[number]
            await stack.aclose()
            raise

    async def end(self) -> None:
        for stack, _ in self._up.values():
            await stack.aclose()


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """Houses go on from one test to the next, and what is in them is started again: only their end can be looked at."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def houses() -> AsyncIterator[Houses]:
    houses = Houses()
    yield houses
    await houses.end()


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
async def test_a_process_dies_between_two_steps(houses: Houses, case: Case) -> None:
    await Campaign(houses, case).run_quick()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_process_dies_at_any_point(houses: Houses, case: Case) -> None:
    await Campaign(houses, case).run_all()


@pytest.mark.parametrize("live", [live_with_repeated_reports, live_with_a_lost_report])
async def test_reports_that_come_again_or_never_change_nothing(
    houses: Houses, live: Callable[[House], Awaitable[list[str]]]
) -> None:
    async with houses.use(0) as house, asyncio.timeout(PATIENCE):
        uids = await live(house)
        await house.until_drained()
        outcome = await house.look()
        nothing_lost_or_doubled(outcome, uids)
        both_ran(outcome, [])
        await house.forget()
