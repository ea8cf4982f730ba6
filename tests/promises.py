"""Times that the product promises, and how long tests wait for it.

No test of the usual run is decided by the clock: it waits for `PATIENCE`, or it has a limit only where it is slow, with
the machine to itself.
"""

from __future__ import annotations

import math

import pytest

HOW_LONG = {
    "a service that has died again and again is started again": 5.0,
    "a standby takes over": 2.3,
    "a NATS server that was stopped is given up": 7.2,
    "another one leads the stream": 9.0,
    "another Valkey is the primary": 3.0,
}
"""Seconds until things go on after a fault, as the table "How long" in docs/faults.md has them."""
BUSY = 4
"""On a machine that has other things to do, everything takes so many times as long."""
PATIENCE = BUSY * sum(HOW_LONG.values())
"""Seconds after which what is waited for is taken not to come, even if all of these follow each other."""


def within(seconds: float) -> pytest.MarkDecorator:
    """Give a test its `limit`: none in the usual run, and these seconds in a slow one."""
    slow = pytest.param(seconds, marks=pytest.mark.slow, id=f"within {seconds} s")
    return pytest.mark.parametrize("limit", [pytest.param(math.inf, id="at all"), slow])
