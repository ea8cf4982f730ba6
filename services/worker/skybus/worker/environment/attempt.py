"""One attempt to run an item: what it has to know while it runs, and the report of how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from bluesky.utils import FailedPause

from skybus.bus.api.internal import PlanReport
from skybus.bus.api.items import Item
from skybus.worker.environment.failures import full_traceback, reason
from skybus.worker.environment.portable import as_json_or_none
from skybus.worker.environment.runs import RunList

ExitStatus = Literal["completed", "failed", "stopped", "aborted", "halted", "unknown"]

EXIT_STATUS: dict[str, ExitStatus] = {
    "run": "completed",
    "resume": "completed",
    "stop": "stopped",
    "abort": "aborted",
    "halt": "halted",
}
"""How a plan has ended that was last told to do this, and has not failed."""

BY_HAND: dict[str, ExitStatus] = {"fail": "failed", "abort": "aborted"}
"""Exit status of a run → how its plan has ended, the worst first."""

RETURN_BYTES = 100_000


@dataclass
class Attempt:
    """An item that runs or is paused."""

    environment_id: str
    uid: str
    item: Item
    time_start: float = field(default_factory=time.time)
    runs: RunList = field(default_factory=RunList)
    _warnings: list[str] = field(default_factory=list)

    @property
    def item_uid(self) -> str:
        """Of the item."""
        return str(self.item.get("item_uid", ""))

    def warn(self, warning: str) -> None:
        """Note what people must hear of although the plan goes on; the report says it."""
        self._warnings.append(warning)

    def metadata(self, meta: dict[str, Any]) -> dict[str, Any]:
        """Metadata for each run; arguments of the RunEngine's call win over what a plan says."""
        facts = {"item_uid": self.item_uid, "attempt": self.uid}
        facts |= {name: self.item[name] for name in ("user", "user_group") if name in self.item}
        return {**meta, "skybus": facts}

    def ended(self, action: str, return_value: Any, *, pause_pending: bool) -> PlanReport:
        """The report of a plan that has not failed."""
        return self._report(
            exit_status=EXIT_STATUS[action],
            return_value=as_json_or_none(return_value, RETURN_BYTES),
            pause_pending=pause_pending,
        )

    def ended_early(self, action: str, *, by_user_code: bool) -> PlanReport:
        """The report of a plan that was ended while it ran."""
        status = EXIT_STATUS[action]
        return self._report(exit_status=status, msg=f"Plan {status} by user code" if by_user_code else "")

    def ended_by_hand(self) -> PlanReport:
        """The report of a plan that was paused, and that somebody has ended without us: its runs say how."""
        found = next((named for status, named in BY_HAND.items() if status in self.runs.exit_statuses), "unknown")
        return self._report(exit_status=found, msg="The plan is completed outside RE Manager")

    def failed(self, error: BaseException, *, pause_pending: bool = False) -> PlanReport:
        """The report of a plan that has raised an error."""
        return self._report(
            exit_status="failed",
            msg=f"Plan failed: {_reason(error)}",
            traceback=full_traceback(error),
            pause_pending=pause_pending,
        )

    def not_begun(self, why: str) -> PlanReport:
        """The report of a plan that the RunEngine had no room for: nothing of it has run."""
        return self._report(exit_status="failed", was_begun=False, msg=why)

    def _report(self, *, msg: str = "", **fields: Any) -> PlanReport:
        return PlanReport(
            environment_id=self.environment_id,
            attempt=self.uid,
            item_uid=self.item_uid,
            run_uids=self.runs.run_uids,
            scan_ids=self.runs.scan_ids,
            time_start=self.time_start,
            time_stop=time.time(),
            msg="; ".join(filter(None, (msg, self._warning))),
            **fields,
        )

    @property
    def _warning(self) -> str:
        """The first warning, and how many there are."""
        others = len(self._warnings) - 1
        return " ".join(self._warnings[:1]) + (f" (and {others} more such warnings)" if others > 0 else "")


def _reason(error: BaseException) -> str:
    if isinstance(error, FailedPause):
        return "the Run Engine has aborted it, since it cannot be paused here: there is no checkpoint to go back to"
    return reason(error)
