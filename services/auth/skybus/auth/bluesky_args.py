"""Where a string in the `*args` of Bluesky's own plans can be nothing but the name of a device.

Their hints, `Movable | Any` or none, let any string pass, so a misspelt motor would be found when the plan runs. What
stands where is in the docstrings of `bluesky.plans` and `bluesky.plan_stubs`: scans take motors and numbers or lists of
positions; `mv` takes motors and positions in turn, and a position may be a string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SCANS, _STUBS = "bluesky.plans", "bluesky.plan_stubs"
_STEPS = {"mv": 2, "mov": 2, "mvr": 1, "movr": 1}
"""Plan among the stubs → one in so many arguments, from the first on, is a device if it is a string."""


def device_names(plan: Mapping[str, Any], args: Sequence[Any]) -> list[str]:
    """Return what must be names of devices.

    Args:
        plan: Its description.
        args: What is given for its `*args`.
    """
    module = plan.get("module")
    step = 1 if module == _SCANS else _STEPS.get(plan["name"]) if module == _STUBS else None
    return [value for value in args[::step] if isinstance(value, str)] if step else []
