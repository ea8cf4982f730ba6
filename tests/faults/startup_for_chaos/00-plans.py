"""A plan that leaves a file each time it is run, and says how far it is."""

import os
import uuid
from pathlib import Path

from bluesky import RunEngine
from bluesky import plan_stubs as bps

RE = RunEngine()
RUNS = Path(os.environ["SKYBUS_TEST_RUNS"])


def leave_file(_, start):
    """For the attempt: its item, itself, and what tells two runs of it apart."""
    (RUNS / f"{start['mark']}.{start['skybus']['item_uid']}.{start['skybus']['attempt']}.{uuid.uuid4()}").touch()


RE.subscribe(leave_file, "start")


def leave_mark(mark: str, lines: int = 4, delay: float = 0.02):
    yield from bps.open_run({"mark": mark})
    for number in range(lines):
        print(f"{mark} {number}")
        yield from bps.sleep(delay)
    yield from bps.close_run()
