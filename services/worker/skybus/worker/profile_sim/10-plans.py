# ruff: noqa: N999, F401
"""Plans: those of Bluesky and a few small ones to try things out with."""

import time

import bluesky.plan_stubs as bps
from bluesky.plan_stubs import mv, mvr, null, sleep
from bluesky.plans import (
    adaptive_scan,
    count,
    fly,
    grid_scan,
    list_grid_scan,
    list_scan,
    log_scan,
    rel_grid_scan,
    rel_list_scan,
    rel_log_scan,
    rel_scan,
    scan,
    spiral,
    spiral_fermat,
    spiral_square,
)
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from skybus.worker.environment.annotation import parameter_annotation_decorator


def slow_count(detectors: list[Readable], num: int = 10, delay: float = 1.0) -> MsgGenerator:
    """Take readings with a pause after each, so that there is time to pause, stop or abort.

    Args:
        detectors: What to read.
        num: Number of readings.
        delay: Seconds between two readings.
    """
    return (yield from count(detectors, num=num, delay=delay))


def print_lines(n: int = 10, delay: float = 0.0) -> MsgGenerator:
    """Print numbered lines, to see console output arrive.

    Args:
        n: Number of lines.
        delay: Seconds between two lines.
    """
    for number in range(1, n + 1):
        print(f"line {number} of {n}")
        yield from bps.sleep(delay)


def failing_plan(message: str = "this plan always fails", after: float = 0.0) -> MsgGenerator:
    """Fail, to see what a failed plan looks like.

    Args:
        message: Text of the error.
        after: Seconds before it fails.
    """
    yield from bps.sleep(after)
    raise RuntimeError(message)


@parameter_annotation_decorator(
    {
        "description": "Move motors to positions, then read detectors.",
        "parameters": {
            "motors": {
                "description": "Motors to move before the reading.",
                "annotation": "list[Motors]",
                "devices": {"Motors": ["__MOTOR__:^motor", "slow_motor", ":-^stage$:^[xy]$"]},
            },
            "positions": {
                "description": "One position for each motor.",
                "annotation": "list[float]",
                "min": -100,
                "max": 100,
                "step": 0.1,
            },
            "detectors": {
                "description": "Detectors to read.",
                "annotation": "list[Detectors]",
                "devices": {"Detectors": ["__DETECTOR__:^det", "noisy_det"]},
                "default": ["det"],
            },
        },
    }
)
def move_and_count(
    motors: list[Movable], positions: list[float], detectors: list[Readable] | None = None, num: int = 1
) -> MsgGenerator:
    """Move motors to positions, then read detectors."""
    if len(motors) != len(positions):
        raise ValueError(f"{len(motors)} motors need as many positions, not {len(positions)}")
    yield from bps.mv(*(part for pair in zip(motors, positions, strict=True) for part in pair))
    return (yield from count(detectors or [], num=num))


def two_runs(detectors: list[Readable], motor: Movable, start: float, stop: float, num: int = 5) -> MsgGenerator:
    """Scan a motor there and back again: two runs in one plan.

    Args:
        detectors: What to read.
        motor: What to move.
        start: First position.
        stop: Last position.
        num: Points of each run.
    """
    first = yield from scan(detectors, motor, start, stop, num=num)
    second = yield from scan(detectors, motor, stop, start, num=num)
    return first, second


def function_sleep(seconds: float) -> dict[str, float]:
    """Wait; a function to call directly, not a plan."""
    time.sleep(seconds)
    return {"slept": seconds}
