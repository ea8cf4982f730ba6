"""Plans whose hints are strings, as `from __future__ import annotations` makes them."""

from __future__ import annotations

from collections.abc import Sequence

from bluesky.protocols import Movable, Readable


def later_number(a: int, b: float | None = None):
    yield from ()


def later_devices(detectors: Sequence[Readable], motor: Movable):
    yield from ()


def later_unknown(a: NotThere):  # noqa: F821
    yield from ()
