"""Remembers the tasks that have ended, so that none is run a second time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from skybus.bus.api.internal import TaskReport
from skybus.bus.messages import encode

TASKS = 100_000
"""Tasks that are remembered."""
REPORT_BYTES = 16 << 20
"""Bytes of reports that are kept, to be sent again if somebody asks for the task once more."""


@dataclass
class EndedTask:
    """What is left of a task."""

    time_start: float
    """Unix seconds."""
    report: TaskReport | None
    """Nothing if newer reports needed the room."""


class EndedTasks:
    """Tasks in the order of their end."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, EndedTask] = OrderedDict()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """Uids of those that have their report, with its size."""
        self._bytes = 0

    def add(self, report: TaskReport) -> None:
        """Remember a task."""
        self._tasks[report.task_uid] = EndedTask(report.time_start, report)
        self._sizes[report.task_uid] = size = len(encode(report))
        self._bytes += size
        while self._bytes > REPORT_BYTES or len(self._sizes) > TASKS:
            self._drop_report()
        if len(self._tasks) > TASKS:
            self._tasks.popitem(last=False)

    def get(self, task_uid: str) -> EndedTask | None:
        """What is left of a task, if there was one of that uid."""
        return self._tasks.get(task_uid)

    def _drop_report(self) -> None:
        uid, size = self._sizes.popitem(last=False)
        self._bytes -= size
        self._tasks[uid].report = None
