"""A plan that waits for a file, then prints and measures much, and leaves a file."""

import os
from pathlib import Path

from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky.plans import count
from ophyd.sim import det

RE = RunEngine()
RUNS = Path(os.environ["SKYBUS_TEST_RUNS"])


def tell_much(lines: int, runs: int):
    print("begun")
    while not (RUNS / "go").exists():
        yield from bps.sleep(0.02)
    for number in range(lines):
        print(f"line {number}")
    for _ in range(runs):
        yield from count([det], num=3)
    (RUNS / "done").touch()
