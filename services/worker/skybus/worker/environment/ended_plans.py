"""Remembers how the last plans have ended, so that none is run a second time."""

from __future__ import annotations

from collections import OrderedDict

from skybus.bus.api.internal import PlanReport

REMEMBERED = 200
"""Reports that are kept, to be sent again if somebody asks for the attempt once more."""


class EndedPlans:
    """Reports in the order in which they were made."""

    def __init__(self) -> None:
        self._reports: OrderedDict[str, PlanReport] = OrderedDict()

    def add(self, report: PlanReport) -> None:
        """Remember a report."""
        self._reports[report.attempt] = report
        if len(self._reports) > REMEMBERED:
            self._reports.popitem(last=False)

    def get(self, attempt: str) -> PlanReport | None:
        """The report of an attempt, if it has ended not long ago."""
        return self._reports.get(attempt)
