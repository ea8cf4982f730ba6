"""One task: a script or a function that is run besides plans, and the report of how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from skybus.bus.api.internal import TaskReport, TaskRun
from skybus.worker.environment.failures import full_traceback, reason
from skybus.worker.environment.own_process import in_this_process
from skybus.worker.environment.portable import as_json

NAMES = {"script": "Load script", "function": "Execute function"}
"""Kind of a task → what the reference calls it."""


@dataclass
class Task:
    """A task that is about to run or runs.

    Args:
        work: does it, and returns what the report shall carry.
        return_limit: bytes that this may have as JSON.
    """

    environment_id: str
    request: TaskRun
    work: Callable[[], Any]
    return_limit: int
    time_start: float = field(default_factory=time.time)

    @property
    def uid(self) -> str:
        """Of the task."""
        return self.request.task_uid

    def run(self) -> TaskReport:
        """Do the work and say how it went, whatever it does."""
        try:
            with in_this_process():
                value = as_json(self.work(), self.return_limit)
        except BaseException as error:  # a script that calls exit() must not end the process
            msg = f"Error occurred while executing {NAMES[self.request.task.kind]!r}: {reason(error)}"
            return self._report(success=False, msg=msg, traceback=full_traceback(error))
        return self._report(success=True, return_value=value)

    def _report(self, **fields: Any) -> TaskReport:
        return TaskReport(
            environment_id=self.environment_id,
            task_uid=self.uid,
            run_in_background=self.request.run_in_background,
            time_start=self.time_start,
            time_stop=time.time(),
            **fields,
        )
