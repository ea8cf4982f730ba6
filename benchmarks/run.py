"""Measures skybus and the reference in one run; exits with 1 if the turnaround of a plan is over its limit."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import processes
import table
from figures import FIGURES, TURNAROUND_LIMIT, Figure, Results, medians, select
from sides import Reference, Side, Skybus

Samples = dict[str, list[float]]


def main() -> int:
    """Run the benchmark, return the exit code."""
    options = _parse()
    figures = select(options.only)
    processes.adopt_orphans()
    processes.exit_on_signals()
    sides = [make() for make in _sides(options)]
    samples = {"reference": {}, "skybus": {}} | measure(sides, figures)
    remarks = {"reference": {}, "skybus": {}} | {side.name: side.remarks for side in sides}
    results = Results(medians(samples["reference"]), medians(samples["skybus"]), remarks)
    table.show(table.rows(figures, results))
    if options.json:
        options.json.write_text(json.dumps({"samples": samples, "remarks": remarks}, indent=1) + "\n")
    return _exit_code(options, figures, results)


def measure(sides: Sequence[Side], figures: Sequence[Figure]) -> dict[str, Samples]:
    """Measure figure by figure, the sides in turn: the machine's speed drifts within minutes."""
    samples: dict[str, Samples] = {side.name: {} for side in sides}
    try:
        for figure in figures:
            able = [side for side in sides if isinstance(side, Skybus) or not figure.skybus_only]
            for side in able * figure.rounds:
                if figure.name in side.remarks:
                    continue
                samples[side.name].setdefault(figure.name, []).extend(_measure(side, figure))
    finally:
        with processes.uninterrupted():
            for side in sides:
                side.stop()
            processes.kill_descendants()
    return samples


def _measure(side: Side, figure: Figure) -> list[float]:
    """Measure one figure; if that fails, remark upon it and let the side begin anew."""
    if not side.starts:
        side.remarks[figure.name] = "does not start"
        return []
    print(f"{side.name}: {figure.name} ...", end=" ", file=sys.stderr, flush=True)
    started = time.perf_counter()
    try:
        samples = figure.measure(side)
    except Exception as error:
        print(f"{error!r}\n{side.log_tail()}", file=sys.stderr)
        side.remarks[figure.name] = f"failed, {_first_line(error)}"
        side.stop()
        return []
    print(f"{time.perf_counter() - started:.1f} s", file=sys.stderr)
    return samples


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0][:80]


def _sides(options: argparse.Namespace) -> list[Callable[[], Side]]:
    if options.reference_only:
        return [Reference]
    return [Skybus] if options.skybus_only else [Reference, Skybus]


def _exit_code(options: argparse.Namespace, figures: Sequence[Figure], results: Results) -> int:
    """Return 1 if skybus' turnaround was asked for and is over its limit or could not be measured."""
    if options.reference_only or "turnaround" not in [figure.name for figure in figures]:
        return 0
    return int(not results.skybus.get("turnaround", float("inf")) <= TURNAROUND_LIMIT)


def _parse() -> argparse.Namespace:
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], choices=names, metavar="NAME", help=", ".join(names))
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--reference-only", action="store_true", help="measure the reference alone")
    which.add_argument("--skybus-only", action="store_true", help="measure skybus alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to a file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
