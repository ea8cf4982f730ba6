"""The figures of the table, in the order they are measured in, and what each must reach."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import measures
import nats_measures
from sides import Side


@dataclass(frozen=True)
class Results:
    """What both sides came to, by the figure's name; a figure that was not measured is missing."""

    reference: dict[str, float]
    skybus: dict[str, float]
    remarks: dict[str, dict[str, str]]
    """What has to be said, by the side's name; a figure remarked upon did not go as it should."""


@dataclass(frozen=True)
class Budget:
    """A limit on the skybus side's median."""

    text: str
    limit: Callable[[Results], float]
    """The limit itself; raises KeyError if what it is relative to was not measured."""
    at_least: bool = False

    def verdict(self, name: str, results: Results) -> str:
        """Return what is to be said of the skybus side's median."""
        if name in results.remarks["skybus"]:
            return "MISSED"
        try:
            ours, limit = results.skybus[name], self.limit(results)
        except KeyError:
            return ""
        kept = ours >= limit if self.at_least else ours <= limit
        return "kept" if kept else "MISSED"


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    title: str
    measure: Callable[[Side], list[float]]
    budget: Budget | None = None
    needs: tuple[str, ...] = ()
    """Other figures that the budget is relative to."""
    unit: str = "ms"
    rounds: int = 1
    """How often the sides take turns; more than once for what is short enough for the machine's moods to show."""
    skybus_only: bool = False
    against: str = ""
    """The reference's figure to compare with, if it is another one."""


TURNAROUND_BUDGET = 10.0
TURNAROUND_LIMIT = 15.0
"""Milliseconds at the median: what is to be reached, and what the run fails over; a machine is slower at times."""


def at_most(factor: float, name: str) -> Budget:
    """Allow a factor of the reference's median."""
    return Budget(f"≤ {factor:g} × reference", lambda results: factor * results.reference[name])


def at_least(factor: float, name: str) -> Budget:
    """Demand a factor of the reference's median."""
    return Budget(f"≥ {factor:g} × reference", lambda results: factor * results.reference[name], at_least=True)


def beyond_bare(extra: float, name: str) -> Budget:
    """Allow some milliseconds beyond what the RunEngine alone needs."""
    return Budget(f"≤ bare + {extra:g} ms", lambda results: results.skybus[name] + extra)


def as_small(factor: float, name: str) -> Budget:
    """Allow a factor of the same side's median for a small queue."""
    return Budget(f"≤ {factor:g} × at 100", lambda results: factor * results.skybus[name])


def scaling(name: str, title: str, measure: Callable[[Side, int], list[float]]) -> tuple[Figure, Figure]:
    """Make the two figures of an operation, in a small and in a large queue."""
    at_100, at_large = f"{name}_at_100", f"{name}_at_large"
    return (
        Figure(at_100, f"{title}, 100 items queued", measures.small(measure)),
        Figure(
            at_large, f"{title}, 100 000 queued (ref.: 10 000)", measures.large(measure), as_small(2, at_100), (at_100,)
        ),
    )


_SCALING = [
    scaling("add", "add", measures.add_to),
    scaling("move", "move by uid", measures.move_in),
    scaling("remove", "remove by uid", measures.remove_from),
]

# From short queues to long ones, so that each is filled from the one before.
FIGURES = [
    Figure("start_quiet", "start to ready (ref.: no info socket)", measures.start_to_ready_quiet),
    Figure("start", "start to ready", measures.start_to_ready, at_most(1.5, "start")),
    Figure("open", "environment open", measures.open_environment, at_most(0.5, "open")),
    Figure("reopen", "environment open, right after a close", measures.reopen_environment),
    Figure("status", "status, round trip", measures.status, at_most(1, "status"), rounds=10),
    Figure("add", "queue_item_add, round trip", measures.add_item, at_most(1, "add"), rounds=10),
    Figure("nats_bare", "bare request of nats-py", nats_measures.bare_request, rounds=10, skybus_only=True),
    Figure(
        "nats_status",
        "status over NATS, round trip",
        nats_measures.status,
        at_most(1, "status"),
        ("status",),
        rounds=10,
        skybus_only=True,
        against="status",
    ),
    Figure(
        "nats_add",
        "queue.item.add over NATS, round trip",
        nats_measures.add_item,
        at_most(1, "add"),
        ("add",),
        rounds=10,
        skybus_only=True,
        against="add",
    ),
    Figure("bare_plan", "count, bare loop of RE(plan)", measures.bare_plan),
    Figure(
        "turnaround",
        "turnaround of a plan (50 plans; ref.: 10)",
        measures.turnaround,
        Budget(f"≤ {TURNAROUND_BUDGET:g} ms", lambda _: TURNAROUND_BUDGET),
    ),
    Figure("bare_pause", "pause, RunEngine alone", measures.bare_pause),
    Figure("pause", "pause → paused", measures.pause, beyond_bare(50, "bare_pause"), ("bare_pause",)),
    Figure("bare_abort", "abort, RunEngine alone", measures.bare_abort),
    Figure("abort", "abort → idle", measures.abort, beyond_bare(50, "bare_abort"), ("bare_abort",)),
    Figure("console", "console, 5000 lines", measures.console, at_least(2, "console"), unit="lines/s"),
    Figure("batch", "batch of 1000", measures.add_batch, at_most(0.3, "batch")),
    *(at_100 for at_100, _ in _SCALING),
    Figure("get_10000", "queue_get of 10 000", measures.get_queue, at_most(0.3, "get_10000")),
    *(at_large for _, at_large in _SCALING),
]


def select(names: list[str]) -> list[Figure]:
    """Return the named figures and those they need, in the order they are measured in; all of them without names."""
    if not names:
        return FIGURES
    known = {figure.name: figure for figure in FIGURES}
    wanted = {needed for name in names for needed in (name, *known[name].needs)}
    return [figure for figure in FIGURES if figure.name in wanted]


def medians(samples: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of every figure that has samples."""
    return {name: median(values) for name, values in samples.items() if values}
