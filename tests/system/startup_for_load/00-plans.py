"""A plan that reads a detector at given times, and does not let one late point delay the next ones."""

import time

from bluesky import RunEngine
from bluesky import plan_stubs as bps
from ophyd.sim import det

RE = RunEngine()


def paced(num: int = 1, period: float = 0.1):
    """Read the detector `num` times, `period` seconds apart, counted from the time in the start document."""
    begin = time.time()
    yield from bps.open_run({"begin": begin, "period": period})
    for number in range(num):
        yield from bps.sleep(max(begin + number * period - time.time(), 0))
        yield from bps.trigger_and_read([det])
        print(f"point {number}")
    yield from bps.close_run()


def read_the_detector_of_the_sample_environment_again_and_again(num: int = 1):
    """Run `paced` under a name as long as those of beamlines, on which patterns are tried."""
    yield from paced(num)
