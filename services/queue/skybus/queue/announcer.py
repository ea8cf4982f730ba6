"""Makes events of what has happened."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from skybus.bus.api.events import (
    EnvironmentChanged,
    HistoryChanged,
    ItemChanged,
    LockChanged,
    QueueChanged,
    TaskChanged,
)
from skybus.bus.api.internal import PlanReport, TaskReport
from skybus.bus.api.items import Item
from skybus.bus.command_lines import LONGEST_NAME, LONGEST_REASON, SHORT_UID
from skybus.bus.logs import printable
from skybus.bus.messages import Message
from skybus.queue.locks import Lock
from skybus.queue.records import Running, RunningTask
from skybus.queue.shown import Shown

log = structlog.get_logger()


class Announcer:
    """Says what has happened.

    Args:
        publish: sends an event by topic.
    """

    def __init__(self, publish: Callable[[str, Message], None]) -> None:
        self._publish = publish
        self._queue_uid = self._history_uid = ""

    def stored(self, shown: Shown) -> None:
        """The book is stored as it is shown now: say what is another one."""
        flags = shown.flags
        if flags.queue_uid != self._queue_uid:
            self._queue_uid = flags.queue_uid
            running = shown.running.item["item_uid"] if shown.running else None
            event = QueueChanged(plan_queue_uid=flags.queue_uid, qsize=shown.items_in_queue, running_item_uid=running)
            self._publish("queue", event)
        if flags.history_uid != self._history_uid:
            self._history_uid = flags.history_uid
            self._publish("history", HistoryChanged(plan_history_uid=flags.history_uid, size=shown.items_in_history))

    def begun(self, running: Running) -> None:
        """An item runs."""
        uid = running.item["item_uid"]
        self._publish(f"item.{uid}", ItemChanged(item_uid=uid, state="running", name=running.item["name"]))
        log.info("Item started", **_shown(running.item))

    def filed(self, item: Item, report: PlanReport, back_at: int | None = None) -> None:
        """An item is in history, and as far as it is to run again at a position of the queue."""
        uid = item["item_uid"]
        self._publish(
            f"item.{uid}",
            ItemChanged(
                item_uid=uid, state=report.exit_status, name=item["name"], run_uids=report.run_uids, msg=report.msg
            ),
        )
        why = {"reason": printable(report.msg, LONGEST_REASON)} if report.msg else {}
        log.info("Item finished", **_shown(item), exit_status=report.exit_status, **why)
        if back_at is not None:
            log.info("Item returned to the queue", **_shown(item), pos=back_at)

    def returned(self, item: Item, why: str) -> None:
        """The environment has not begun an item, which is at the front of the queue again."""
        uid = item["item_uid"]
        self._publish(f"item.{uid}", ItemChanged(item_uid=uid, state="returned", name=item["name"], msg=why))
        log.warning("Item returned to the queue", **_shown(item), pos=0, reason=printable(why, LONGEST_REASON))

    def environment(self, event: EnvironmentChanged) -> None:
        """The environment has opened, or is gone."""
        self._publish("environment", event)
        if event.state != "failed":  # why it has failed was logged when the report came
            log.info(f"Environment {event.state}", **({"reason": event.msg} if event.msg else {}))

    def task_begun(self, task: RunningTask) -> None:
        """A task runs."""
        self._publish(f"task.{task.uid}", TaskChanged(task_uid=task.uid, state="running"))
        log.info("task begun", task_uid=task.uid, kind=task.order.task.kind, foreground=task.is_foreground)

    def task_done(self, report: TaskReport) -> None:
        """What came of a task is known."""
        self._publish(
            f"task.{report.task_uid}",
            TaskChanged(task_uid=report.task_uid, state="completed", success=report.success, msg=report.msg),
        )
        log.info("task done", task_uid=report.task_uid, success=report.success)

    def lock(self, lock: Lock) -> None:
        """The lock was set or taken away."""
        self._publish(
            "lock",
            LockChanged(
                lock_info_uid=lock.uid,
                environment=lock.environment,
                queue=lock.queue,
                user=lock.user,
                via=lock.via,
            ),
        )


def _shown(item: Item) -> dict[str, str]:
    """An item as a line shows it."""
    return {"name": printable(item["name"], LONGEST_NAME), "item": item["item_uid"][:SHORT_UID]}
