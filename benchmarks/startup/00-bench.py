"""The startup code of the benchmarks, a beamline's in size: the reference, skybus and the bare loop load this file."""

import time
from inspect import isgeneratorfunction

import bluesky.plans
from bluesky import RunEngine
from bluesky.plan_stubs import null
from ophyd.sim import hw

# Every simulated device and every plan that bluesky has, count and det among them.
globals().update(vars(hw()))
plans = {name: plan for name, plan in vars(bluesky.plans).items() if isgeneratorfunction(plan) and name[0] != "_"}
globals().update(plans)

# No BestEffortCallback: it costs a plan 100 ms, the same on every side, and would drown what is measured.
RE = RunEngine({})


def print_lines(number: int = 1000):
    """Print numbered lines between a first line with the time and a last line."""
    print(f"bench-begin {time.time():.6f}")
    for index in range(number):
        print(f"bench-line {index}")
    print("bench-end")
    yield from null()
