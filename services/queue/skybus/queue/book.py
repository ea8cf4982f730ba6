"""The state that must not be lost, and every change of it: pure, with the Redis commands of a change written down.

A change alters the book in memory and leaves in `journal` what Redis must be told. The keeper commits the journal as
one script; if that fails, the book is read anew from Redis, so that what is in memory is what is stored.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from skybus.bus.api.internal import PlanReport, TaskReport
from skybus.bus.api.items import Item
from skybus.bus.api.queue import QueueMode
from skybus.bus.errors import ConflictError, InvalidError, NotFoundError, SkybusError
from skybus.bus.json_values import write_json
from skybus.bus.messages import encode
from skybus.queue.line import Line, Slot, insertion_index
from skybus.queue.locks import NO_LOCK, Lock
from skybus.queue.records import Command, Flags, Running, RunningTask, new_uid, renewed

KEPT_STATES = ("completed", "unknown", "stopped")
"""Exit statuses with which an item is done; after any other it goes back to the front of the queue."""


@dataclass
class Book:
    """Queue, running item, running tasks, size of the history, lock, flags."""

    line: Line = field(default_factory=Line)
    running: Running | None = None
    tasks: dict[str, RunningTask] = field(default_factory=dict)
    """By uid."""
    history_size: int = 0
    lock: Lock = NO_LOCK
    flags: Flags = field(default_factory=Flags)
    revision: int = 0
    journal: list[Command] = field(default_factory=list)

    def insert(
        self,
        items: Sequence[Item],
        pos: int | str | None = None,
        before_uid: str | None = None,
        after_uid: str | None = None,
    ) -> None:
        """Put items into the queue, one behind the other."""
        index = self._insertion_index(pos, before_uid, after_uid)
        self._put(index, items)
        self._queue_changed()

    def remove(self, uids: Sequence[str]) -> list[Item]:
        """Take items out of the queue."""
        for uid in uids:
            self._refuse_running(uid, "Can not remove an item which is currently running.")
        items = self._take(uids)
        if items:
            self._queue_changed()
        return items

    def replace(self, uid: str, item: Item) -> None:
        """Put another item into the place of one."""
        if self.running and self.running.item["item_uid"] == uid:
            raise ConflictError(f"Failed to replace item: Item with UID '{uid}' is currently running")
        if uid not in self.line:
            raise NotFoundError(f"Failed to replace item: Item with UID '{uid}' is not in the queue")
        if item == self.line.item(uid):
            return
        key = self.line.key(uid)
        self.line.replace(uid, item)
        if item["item_uid"] != uid:
            self.journal += [("ZREM", "queue", uid), ("HDEL", "items", uid)]
            self.journal.append(("ZADD", "queue", key, item["item_uid"]))
        self.journal.append(("HSET", "items", item["item_uid"], write_json(item)))
        self._queue_changed()

    def move(self, uids: Sequence[str], index_after_removal: int) -> list[Item]:
        """Take items out and put them in again, counted in the queue without them."""
        if [self.line.index(uid) for uid in uids] == list(range(index_after_removal, index_after_removal + len(uids))):
            return [self.line.item(uid) for uid in uids]  # they stand there already
        items = self._take(uids)
        self._put(index_after_removal, items)
        self._queue_changed()
        return items

    def clear(self) -> None:
        """Empty the queue."""
        self.line = Line()
        self.journal += [("DEL", "queue"), ("DEL", "items")]
        self._queue_changed()

    def find(self, uid: str) -> Item:
        """An item of the queue.

        Raises:
            NotFoundError: it is not there.
            ConflictError: it is the one that runs.
        """
        self._refuse_running(uid, f"The item with UID '{uid}' is currently running.")
        return self.line.item(uid)

    def start_front(self, environment_id: str) -> Running:
        """Move the front item from the queue to running."""
        item = self.line.item(self.line.uid_at("front"))
        self._take([item["item_uid"]])
        return self._run(item, environment_id, immediate=False)

    def start_past_queue(self, item: Item, environment_id: str) -> Running:
        """Let an item run that was never in the queue."""
        return self._run(item, environment_id, immediate=True)

    def take_up(self, running: Running) -> None:
        """Have an attempt as the running one of which nothing was known here."""
        if self.running is not None and self.running.attempt == running.attempt:
            return
        if running.item["item_uid"] in self.line:
            self._take([running.item["item_uid"]])
        self._set_running(running)

    def file(self, report: PlanReport, *, was_lost: bool = False) -> Item | None:
        """Move the running item to history, and where its status wants that, a copy back into the queue.

        Args:
            report: how the attempt ended.
            was_lost: whether the environment took the item with it: then it is to be run again in any mode.

        Returns:
            The item as it stands in history, or nothing if this attempt is not the one that runs: it is filed already.
        """
        running = self.running
        if running is None or running.attempt != report.attempt:
            return None
        filed = {**running.item, "result": _result(running, report)}
        self.running = None
        self.journal += [("DEL", "running"), ("RPUSH", "history", write_json(filed))]
        self.history_size += 1
        if not running.immediate:
            self._put_back(running, filed, is_done=not was_lost and self.is_done(report))
        self.flags = self.flags.model_copy(update={"history_uid": new_uid()})
        self._queue_changed()
        return filed

    def give_back(self, attempt: str) -> Item | None:
        """Put the running item back to the front of the queue: nothing of it has run.

        Returns:
            The item, or nothing if this attempt is not the one that runs.
        """
        running = self.running
        if running is None or running.attempt != attempt:
            return None
        self.running = None
        self.journal.append(("DEL", "running"))
        self._put(0, [running.item])
        self._queue_changed()
        return running.item

    def is_done(self, report: PlanReport) -> bool:
        """Whether an item that ended so is not run again by the next start of the queue."""
        ignored = report.exit_status == "failed" and self.flags.mode.ignore_failures
        return ignored or report.exit_status in KEPT_STATES

    def drop_front(self) -> Item:
        """Take an instruction off the front; in loop mode it goes to the back."""
        item = self._take([self.line.uid_at("front")])[0]
        if self.flags.mode.loop:
            self._put(len(self.line), [renewed(item)])
        self._queue_changed()
        return item

    def begin_task(self, task: RunningTask) -> None:
        """Let a task run."""
        self.tasks[task.uid] = task
        self.journal.append(("HSET", "tasks", task.uid, encode(task)))

    def withdraw_task(self, uid: str) -> None:
        """Forget a task that nobody has begun."""
        if self.tasks.pop(uid, None):
            self.journal.append(("HDEL", "tasks", uid))

    def file_task(self, report: TaskReport, kept: int) -> RunningTask | None:
        """Keep what came of a task for some seconds.

        Returns:
            The task, or nothing if it does not run: its report is filed already.
        """
        task = self.tasks.pop(report.task_uid, None)
        if task is None:
            return None
        self.journal.append(("HDEL", "tasks", task.uid))
        self.journal.append(("SET", f"task:{task.uid}", write_json(_task_result(report)), "EX", kept))
        self.set_flags(task_results_uid=new_uid())
        return task

    def set_lock(self, lock: Lock) -> None:
        """Lock, or unlock."""
        self.lock = lock
        self.journal.append(("SET", "lock", lock.model_dump_json()))

    def keep_history(self, newest: int) -> None:
        """Forget all but the newest items of the history."""
        if newest >= self.history_size:
            return
        self.journal.append(("LTRIM", "history", -newest, -1) if newest else ("DEL", "history"))
        forgotten, self.history_size = self.history_size - newest, newest
        self.set_flags(history_uid=new_uid(), history_start=self.flags.history_start + forgotten)

    def hold(self, line: Line, history_size: int, mode: QueueMode) -> None:
        """Have another queue and another history; the caller has written down how they come into Redis."""
        start = self.flags.history_start + self.history_size
        self.line, self.history_size = line, history_size
        self.flags = self.flags.model_copy(
            update={
                "mode": mode,
                "autostart": False,
                "stop_pending": False,
                "history_uid": new_uid(),
                "history_start": start,
            }
        )
        self._queue_changed()

    def belong_to(self, stack_run: str) -> None:
        """Forget what a new stack begins without."""
        if stack_run and stack_run != self.flags.stack_run:
            self.set_flags(stack_run=stack_run, autostart=False, stop_pending=False)

    def renew_uids(self) -> None:
        """Have everybody read everything again."""
        self.flags = self.flags.model_copy(update={"history_uid": new_uid(), "task_results_uid": new_uid()})
        self._queue_changed()

    def set_flags(self, **changes: Any) -> None:
        """Change flags."""
        changed = self.flags.model_copy(update=changes)
        if changed != self.flags:
            self.flags = changed
            self._write_flags()

    def _insertion_index(self, pos: int | str | None, before_uid: str | None, after_uid: str | None) -> int:
        given = [
            name
            for name, value in (("pos", pos), ("before_uid", before_uid), ("after_uid", after_uid))
            if value is not None
        ]
        if len(given) > 1:
            raise InvalidError(f"Ambiguous parameters: {', '.join(given)} exclude each other")
        reference = before_uid if before_uid is not None else after_uid
        if reference is None:
            return insertion_index(self.line, pos)
        if self.running and self.running.item["item_uid"] == reference:
            if before_uid is not None:
                raise InvalidError("Can not insert a plan in the queue before a currently running plan.")
            return 0
        if reference not in self.line:
            raise NotFoundError(f"Plan with UID '{reference}' is not in the queue.")
        return self.line.index(reference) + (0 if before_uid is not None else 1)

    def _put(self, index: int, items: Sequence[Item]) -> None:
        keys = self.line.keys_for(index, len(items))
        if keys is None:
            self.journal += [("ZADD", "queue", key, uid) for uid, key in self.line.renumber()]
            keys = self.line.keys_for(index, len(items)) or []
        slots = [Slot(key, item) for key, item in zip(keys, items, strict=True)]
        self.line.put(slots)
        for key, item in slots:
            self.journal.append(("ZADD", "queue", key, item["item_uid"]))
            self.journal.append(("HSET", "items", item["item_uid"], write_json(item)))

    def _take(self, uids: Sequence[str]) -> list[Item]:
        items = self.line.take(uids)
        for uid in uids:
            self.journal += [("ZREM", "queue", uid), ("HDEL", "items", uid)]
        return items

    def _run(self, item: Item, environment_id: str, *, immediate: bool) -> Running:
        running = Running(
            item=item, attempt=new_uid(), environment_id=environment_id, time_start=time.time(), immediate=immediate
        )
        self._set_running(running)
        return running

    def _set_running(self, running: Running) -> None:
        if self.running is not None:
            raise SkybusError(f"item {self.running.item['item_uid']} is running already")
        self.running = running
        self.journal.append(("SET", "running", write_json(running.model_dump())))
        self._queue_changed()

    def _put_back(self, running: Running, filed: Item, *, is_done: bool) -> None:
        if is_done:
            if self.flags.mode.loop:
                self._put(len(self.line), [renewed(running.item, running.attempt)])
            return
        self._put(0, [renewed(filed, running.attempt)])  # with what came of it, as the reference does

    def _refuse_running(self, uid: str, message: str) -> None:
        if self.running and self.running.item["item_uid"] == uid:
            raise ConflictError(message)

    def _queue_changed(self) -> None:
        self.flags = self.flags.model_copy(update={"queue_uid": new_uid()})
        self._write_flags()

    def _write_flags(self) -> None:
        self.journal.append(("SET", "flags", self.flags.model_dump_json()))


def _result(running: Running, report: PlanReport) -> dict[str, Any]:
    return {
        "exit_status": report.exit_status,
        "run_uids": report.run_uids,
        "scan_ids": report.scan_ids,
        "time_start": running.time_start,
        "time_stop": report.time_stop,
        "msg": report.msg,
        "traceback": report.traceback,
    }


def _task_result(report: TaskReport) -> dict[str, Any]:
    return {
        "task_uid": report.task_uid,
        "success": report.success,
        "msg": report.msg,
        "return_value": report.return_value,
        "traceback": report.traceback,
        "time_start": report.time_start,
        "time_stop": report.time_stop,
    }
