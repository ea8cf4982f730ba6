"""A plan that leaves a file each time it is run, and says how far it is."""

import os
import uuid
from pathlib import Path

from bluesky import RunEngine
from bluesky import plan_stubs as bps

RE = RunEngine()
RUNS = Path(os.environ["SKYBUS_TEST_RUNS"])


def leave_mark(mark: str, lines: int = 4, delay: float = 0.02):
    (RUNS / f"{mark}.{uuid.uuid4()}").touch()
    for number in range(lines):
        print(f"{mark} {number}")
        yield from bps.sleep(delay)
