"""What devices show of themselves, and what authors put into documents, never fails a plan."""

import asyncio
import math

import numpy as np
import pytest

from skybus.bus.api.progress import MoveProgress
from skybus.worker.environment.progress import ProgressMeter
from skybus.worker.environment.waiting import Waiting, move_progress


class Status:
    """Says at once how far it is."""

    def __init__(self, **told) -> None:
        self._told = told

    def watch(self, tell) -> None:
        tell(**self._told)


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("not connected")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"name": "x", "current": (1, 2), "target": "far"}, MoveProgress(name="x")),
        ({"name": "x", "current": 10**400, "initial": 0, "target": 1}, MoveProgress(name="x", initial=0, target=1)),
        ({"name": "x", "current": math.nan}, MoveProgress(name="x")),
        ({"name": ["a", "b"], "unit": np.array(["mm", "deg"])}, MoveProgress(name="['a', 'b']", unit="['mm' 'deg']")),
        ({"name": "x", "unit": "M\udcfc"}, MoveProgress(name="x", unit="M?")),
    ],
)
def test_whatever_a_status_object_says_is_shown_as_far_as_it_can_be(told, expected):
    waiting = Waiting(lambda: None)
    waiting.begin([Status(**{"current": None, **told})])
    assert waiting.moves == [expected]


def test_a_status_object_that_cannot_be_read_is_not_shown():
    waiting = Waiting(lambda: None)
    waiting.begin([Status(name=Unreadable(), current=1), Status(name="x", current=1)])
    assert [move.name for move in waiting.moves] == ["x"]


def test_a_move_that_goes_nowhere_has_no_fraction():
    assert move_progress("x", 1, 2, 2, "mm").fraction is None
    assert move_progress("x", 5, 0, 2, "mm").fraction == 1.0


async def test_an_empty_page_of_events_counts_nothing():
    told = []
    meter = ProgressMeter("item", asyncio.get_running_loop(), told.append)
    meter.take("start", {"uid": "run", "num_points": 4})
    meter.take("descriptor", {"uid": "d", "name": "primary"})
    meter.take("event_page", {"descriptor": "d", "seq_num": [1, 2]})
    meter.take("event_page", {"descriptor": "d", "seq_num": []})
    meter.finish()
    assert (told[-1].done, told[-1].planned) == (2, 4)
