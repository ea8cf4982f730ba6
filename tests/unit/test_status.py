"""The numbers of statuses."""

from __future__ import annotations

from unittest.mock import Mock

from skybus.queue.keeper import Keeper
from skybus.queue.missing import Missing
from skybus.queue.situation import Situation
from skybus.queue.status import StatusMaker


def maker() -> StatusMaker:
    return StatusMaker(Keeper(Mock(), Mock()), Situation(Mock()), Missing(Mock(), Mock(return_value=None)))


def test_who_takes_over_numbers_its_statuses_above_those_of_who_led(monkeypatch) -> None:
    """Also when it has waited since before the other one began: a client takes a lower number for an old status."""
    clock = 1_000_000
    monkeypatch.setattr("time.time_ns", lambda: clock * 1_000_000)
    standby, leader = maker(), maker()
    last = [leader.make().revision for _ in range(5000)][-1]
    clock += 60_000
    assert standby.make().revision > last
