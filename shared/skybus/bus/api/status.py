"""The status of an instrument, with the reference's fields."""

from __future__ import annotations

from skybus.bus.api.engine import Suspended
from skybus.bus.api.health import Absence
from skybus.bus.api.queue import QueueMode
from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message


class LockState(Message):
    """What is locked."""

    environment: bool = False
    queue: bool = False


class Status(Message):
    """What clients watch; each `..._uid` changes when the thing it names has changed."""

    msg: str
    time: str
    """Of this status, ISO 8601, local time."""
    items_in_queue: int
    items_in_history: int
    running_item_uid: str | None
    manager_state: str
    queue_stop_pending: bool
    queue_autostart_enabled: bool
    worker_environment_exists: bool
    worker_environment_state: str
    worker_background_tasks: int
    re_state: str | None
    ip_kernel_state: str | None
    ip_kernel_captured: bool | None
    pause_pending: bool
    status_uid: str
    run_list_uid: str
    plan_queue_uid: str
    plan_history_uid: str
    devices_existing_uid: str
    plans_existing_uid: str
    devices_allowed_uid: str
    plans_allowed_uid: str
    plan_queue_mode: QueueMode
    task_results_uid: str
    lock_info_uid: str
    lock: LockState
    revision: int = 0
    """Grows with each status; a gap means that events were missed. (Not in the reference.)"""
    unreachable: dict[str, Absence] = {}
    """Parts of the house that do not answer: of these the status says what was known last. (Not in the reference.)"""

    suspended: Suspended | None = None
    """What holds the running plan; the other fields show one that runs. (Not in the reference.)"""
    queue_stopped: Absence | None = None
    """Why the queue has stopped before an item that is not to blame, until it is started. (Not in the reference.)"""


BEYOND_REFERENCE = frozenset({"revision", "unreachable", "suspended", "queue_stopped"})
"""The fields of a status that the reference does not have."""

PING = Endpoint("ping", Empty, Status)
STATUS_GET = Endpoint("status.get", Empty, Status)
