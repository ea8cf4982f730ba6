"""Runs plans in a bare loop of RE(plan), in one process; prints milliseconds per plan, pause and abort as JSON."""

import argparse
import contextlib
import json
import sys
import threading
import time
from pathlib import Path

from bluesky.utils import RunEngineInterrupted

PAUSE_AFTER = 0.3
"""Seconds after the start of a plan at which it is paused."""


def main() -> None:
    """Load the startup code, measure, print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("startup_dir", type=Path)
    parser.add_argument("--plans", type=int, default=50)
    parser.add_argument("--pauses", type=int, default=5)
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        namespace = load_startup(options.startup_dir)
        figures = measure(namespace, options.plans, options.pauses)
    print(json.dumps(figures))


def load_startup(folder: Path) -> dict:
    """Execute the startup files in the order of their names, in one namespace."""
    namespace: dict = {"__name__": "__main__"}
    for path in sorted(folder.glob("*.py")):
        exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace


def measure(namespace: dict, plans: int, pauses: int) -> dict[str, list[float]]:
    """Return the samples of every figure, in milliseconds."""
    for _ in range(3):
        time_plan(namespace)
    figures: dict[str, list[float]] = {"plan": [time_plan(namespace) for _ in range(plans)], "pause": [], "abort": []}
    for _ in range(pauses):
        pause, abort = time_pause(namespace)
        figures["pause"].append(pause)
        figures["abort"].append(abort)
    return figures


def time_plan(namespace: dict) -> float:
    """Run one short plan."""
    started = time.perf_counter()
    namespace["RE"](namespace["count"]([namespace["det"]], num=1))
    return 1000 * (time.perf_counter() - started)


def time_pause(namespace: dict) -> tuple[float, float]:
    """Pause a long plan from another thread, then abort it; return what each took."""
    engine = namespace["RE"]
    requested: list[float] = []

    def request() -> None:
        requested.append(time.perf_counter())
        engine.request_pause(False)

    timer = threading.Timer(PAUSE_AFTER, request)
    timer.start()
    with contextlib.suppress(RunEngineInterrupted):
        engine(namespace["count"]([namespace["det"]], num=10_000, delay=0.05))
    paused = time.perf_counter()
    timer.join()
    engine.abort()
    return 1000 * (paused - requested[0]), 1000 * (time.perf_counter() - paused)


if __name__ == "__main__":
    main()
