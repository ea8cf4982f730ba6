"""Makes the status, with the reference's fields, out of what the parts know."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import EnvironmentPhase
from skybus.bus.api.status import LockState, Status
from skybus.bus.version import VERSION
from skybus.queue.keeper import Keeper
from skybus.queue.missing import Missing
from skybus.queue.records import new_uid
from skybus.queue.situation import Situation
from skybus.queue.states import State


@dataclass
class StatusMaker:
    """Makes one status after the other.

    Each has a revision that is higher than that of any status before, also of a process before; `status_uid` is another
    one if anything else has changed.
    """

    keeper: Keeper
    situation: Situation
    missing: Missing
    catalog: CatalogChanged = field(default_factory=lambda: CatalogChanged(**dict.fromkeys(_CATALOG_UIDS, "")))
    _revision: int = 0
    _no_runs_uid: str = field(default_factory=new_uid)
    _last: dict[str, Any] = field(default_factory=dict)
    _uid: str = ""

    def make(self) -> Status:
        """The status of now; answers also while Redis cannot be read, with what was known last."""
        self._revision = self._revision + 1 if self._revision else time.time_ns() // 1_000_000  # who led made fewer
        known = self._known()
        if known != self._last:
            self._last, self._uid = known, new_uid()
        return Status(time=datetime.now().isoformat(), status_uid=self._uid, revision=self._revision, **known)

    def _known(self) -> dict[str, Any]:
        shown, now, environment = self.keeper.last, self.situation, self.situation.environment
        exists = now.is_open
        known = environment if exists else None
        return dict(
            msg=f"RE Manager: skybus v{VERSION}",
            items_in_queue=shown.items_in_queue,
            items_in_history=shown.items_in_history,
            running_item_uid=shown.running.item["item_uid"] if shown.running else None,
            manager_state=now.state,
            queue_stop_pending=shown.flags.stop_pending,
            queue_autostart_enabled=shown.flags.autostart,
            worker_environment_exists=exists,
            worker_environment_state=self._phase(),
            worker_background_tasks=environment.background_tasks if environment else 0,
            re_state=known.re_state if known else None,
            ip_kernel_state=known.ip_kernel_state if known else None,
            ip_kernel_captured=known.ip_kernel_captured if known else None,
            pause_pending=now.pause_pending,
            run_list_uid=self.run_list_uid,
            plan_queue_uid=shown.flags.queue_uid,
            plan_history_uid=shown.flags.history_uid,
            **self.catalog.model_dump(),
            plan_queue_mode=shown.flags.mode,
            task_results_uid=shown.flags.task_results_uid,
            lock_info_uid=shown.lock.uid,
            lock=LockState(environment=shown.lock.environment, queue=shown.lock.queue),
            unreachable=self.missing.parts,
            suspended=known.suspended if known else None,
            queue_stopped=shown.flags.stopped,
        )

    @property
    def run_list_uid(self) -> str:
        """Changes when the list of runs has changed."""
        environment = self.situation.environment
        return (environment.run_list_uid if environment else "") or self._no_runs_uid

    def _phase(self) -> EnvironmentPhase:
        if self.situation.state == State.CREATING_ENVIRONMENT:
            return EnvironmentPhase.INITIALIZING
        environment = self.situation.environment
        return environment.phase if environment else EnvironmentPhase.CLOSED


_CATALOG_UIDS = tuple(CatalogChanged.model_fields)
