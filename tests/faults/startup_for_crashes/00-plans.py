"""A plan that leaves a file for each time it is run; from here on, the steps of the environment are counted."""

import os
import sys
import uuid
from pathlib import Path

from bluesky import RunEngine
from bluesky import plan_stubs as bps

sys.path.insert(0, os.environ["SKYBUS_TEST_ROOT"])

from tests.faults.crash_steps import install

install("environment", Path(os.environ["SKYBUS_DATA_DIR"]))

RE = RunEngine()
RUNS = Path(os.environ["SKYBUS_TEST_RUNS"])
HOLD = RUNS / "hold"


def leave_mark(mark: str):
    attempt = RE._metadata_per_call["skybus"]["attempt"]
    (RUNS / f"{mark}.{attempt}.{uuid.uuid4()}").touch()
    print(mark)
    yield from bps.open_run()
    while HOLD.exists():
        yield from bps.sleep(0.02)
    yield from bps.close_run()
