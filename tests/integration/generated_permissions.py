"""User group permissions of all kinds, the same ones every time."""

from __future__ import annotations

from random import Random
from typing import Any

DEVICES = [
    *("motor1", "det1.val", "hutch", "hutch.table", "hutch.table.top.x", "beamline.first.lamp", "nowhere"),
    *(
        ":^motor",
        ":.*",
        ":^_",
        ":^(?!motor)",
        ":?.*",
        ":?.*:depth=1",
        ":?.*:depth=2",
        ":?^hutch.*x$",
        ":?val$",
        ":?^desk",
    ),
    *(":^hutch$:^table$:.*", ":-^hutch$:-^table$:^top$:^x$", ":+^hutch$:^table$", ":^beamline$:?.*:depth=2"),
    *(":?^hutch.*x$", ":?val$", ":?^desk"),
    *(":-^hutch$:?.*x$", ":^station$:^det$:.*", ":-.*:^x$", ":-.*:-.*:^x$", "__MOTOR__:^pair$:-.*:^readback$"),
    *("__MOTOR__:.*", "__DETECTOR__:?.*:depth=3", "__READABLE__:.*:.*", "__FLYABLE__:.*"),
]
PLANS = ["count", "scan", ":^noted", ":^hint_.*s$", ":.*", ":^_", ":plan", ":?^many", ":^(?!hint)"]
EVERYTHING = {"allowed_plans": [None], "allowed_devices": [None]}


def generate_permissions(seed: int, number: int) -> list[dict[str, Any]]:
    """Make contents of permission files."""
    random = Random(seed)
    return [
        {"user_groups": {"root": _root(random), "one": _group(random), "two": _group(random)}} for _ in range(number)
    ]


def _root(random: Random) -> dict[str, Any]:
    return _group(random) if random.random() < 0.5 else EVERYTHING


def _group(random: Random) -> dict[str, Any]:
    group = {
        "allowed_devices": _lines(DEVICES, random, everything=0.25),
        "forbidden_devices": _lines(DEVICES, random, everything=0.05),
        "allowed_plans": _lines(PLANS, random, everything=0.25),
        "forbidden_plans": _lines(PLANS, random, everything=0.05),
    }
    return {name: lines for name, lines in group.items() if random.random() < 0.8}


def _lines(pool: list[str], random: Random, everything: float) -> list[str | None]:
    lines: list[str | None] = list(random.sample(pool, random.randint(0, 4)))
    return [None, *lines] if random.random() < everything else lines
