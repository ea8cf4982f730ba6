"""Times that the product promises: a test has such a limit only where it is slow, with the machine to itself."""

from __future__ import annotations

import math

import pytest


def within(seconds: float) -> pytest.MarkDecorator:
    """Give a test its `limit`: none in the usual run, and these seconds in a slow one."""
    slow = pytest.param(seconds, marks=pytest.mark.slow, id=f"within {seconds} s")
    return pytest.mark.parametrize("limit", [pytest.param(math.inf, id="at all"), slow])
