"""What the queue must do, written down a second time with plain lists: the oracle of the property test.

A method is a command. It changes the lists or raises `Refused`, after which nothing may be different. It returns what
the service must answer, as far as the answer says more than the state.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

Item = dict[str, Any]
Position = int | str | None

STAMP = {"user": "operator", "user_group": "root"}
"""What the check of an item adds to it."""
DONE = ("completed", "unknown", "stopped")
"""Exit statuses after which an item is not run again."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """The service must say no, and leave everything as it was."""


class QueueModel:
    """Queue, running item and history of a manager whose environment is open or not.

    An item whose uid the service chooses has none until `learn` has seen what the service calls it.
    """

    def __init__(self) -> None:
        self.queue: list[Item] = []
        self.running: Item | None = None
        self.is_immediate = False
        self.history: list[Item] = []
        self.mode = {"loop": False, "ignore_failures": False}
        self.autostart = self.stop_pending = False
        self.environment_exists = True
        self.begun = self.stopped = 0
        self.gone: list[str] = []
        self.seen: set[str] = set()

    def add(self, items: list[Item], pos: Position, before: str | None, after: str | None) -> list[Item]:
        """Put items in, one behind the other."""
        if items and sum(place is not None for place in (pos, before, after)) > 1:
            raise Refused
        index = self._insertion_index(pos, before, after) if items else 0
        new = [{**item, **STAMP, "item_uid": None} for item in items]
        self.queue[index:index] = new
        self._autostart()
        return new

    def update(self, uid: str, item: Item, *, replace: bool) -> list[Item]:
        """Put an item in the place of another."""
        index = self._index(uid)
        new = {**item, **STAMP, "item_uid": None if replace else uid}
        if replace:
            self.gone.append(uid)
        self.queue[index] = new
        return [new]

    def remove(self, uid: str | None, pos: Position) -> list[Item]:
        """Take one item out, by default the last."""
        if uid is not None and pos is not None:
            raise Refused
        return self._take([self._at(pos if pos is not None else "back") if uid is None else self._index(uid)])

    def remove_batch(self, uids: list[str], *, ignore_missing: bool) -> list[Item]:
        """Take items out, in the order of the uids."""
        present = {item["item_uid"] for item in self.queue}
        if not ignore_missing and (len(set(uids)) < len(uids) or not present.issuperset(uids)):
            raise Refused
        return self._take([self._index(uid) for uid in dict.fromkeys(uids) if uid in present])

    def move(
        self, uid: str | None, pos: Position, pos_dest: Position, before: str | None, after: str | None
    ) -> list[Item]:
        """Move one item to where another is, or before or after it."""
        if (uid is None) == (pos is None) or sum(dest is not None for dest in (pos_dest, before, after)) != 1:
            raise Refused
        source = self._at(pos) if uid is None else self._index(uid)
        item = self.queue[source]
        if pos_dest is not None:
            target = self._at(pos_dest)
            self.queue.insert(target, self.queue.pop(source))
            return [item]
        anchor = self.queue[self._index(before if before is not None else after)]
        if anchor is not item:
            self._place([item], anchor, behind=before is None)
        return [item]

    def move_batch(
        self, uids: list[str], pos_dest: str | None, before: str | None, after: str | None, *, reorder: bool
    ) -> list[Item]:
        """Move items together."""
        if sum(dest is not None for dest in (pos_dest, before, after)) != 1 or len(set(uids)) < len(uids):
            raise Refused
        items = [self.queue[self._index(uid)] for uid in uids]
        if before in uids or after in uids:
            raise Refused
        if reorder:
            items.sort(key=lambda item: self._index(item["item_uid"]))
        if not items:
            return []
        if pos_dest is None:
            anchor = self.queue[self._index(before if before is not None else after)]
            self._place(items, anchor, behind=before is None)
            return items
        rest = [item for item in self.queue if item not in items]
        self.queue = [*items, *rest] if pos_dest == "front" else [*rest, *items]
        return items

    def clear(self) -> None:
        """Empty the queue."""
        self.gone += [item["item_uid"] for item in self.queue]
        self.queue = []

    def set_mode(self, mode: Any) -> None:
        """Change the mode of the queue."""
        if mode == "default":
            mode = {"loop": False, "ignore_failures": False}
        if not all(name in self.mode and isinstance(value, bool) for name, value in mode.items()):
            raise Refused
        self.mode = {**self.mode, **mode}

    def clear_history(self, size: int | None, uid: str | None) -> None:
        """Forget the history, or its older part."""
        if size is not None and uid is not None:
            raise Refused
        if uid is None:
            self.history = self.history[len(self.history) - min(size or 0, len(self.history)) :]
            return
        uids = [item["item_uid"] for item in self.history]
        self.history = self.history[uids.index(uid) + 1 :] if uid in uids else self.history

    def start(self) -> None:
        """Run the queue."""
        if not self.environment_exists or self.running:
            raise Refused
        self.stop_pending = False
        self._begin_next()

    def stop(self) -> None:
        """End after the running plan."""
        if not self.running:
            raise Refused
        self.stop_pending = True

    def cancel_stop(self) -> None:
        """Take a stop back."""
        self.stop_pending = False

    def execute(self, item: Item) -> list[Item]:
        """Run an item past the queue."""
        if not self.environment_exists or self.running:
            raise Refused
        new = {**item, **STAMP, "item_uid": None}
        if item["item_type"] == "plan":
            self._begin(new, is_immediate=True)
        else:
            self.autostart = False
        return [new]

    def set_autostart(self, *, enable: bool) -> None:
        """Start by itself, or not."""
        self.autostart = enable
        self._autostart()

    def end(self, status: str, report: Item) -> None:
        """The running plan has ended."""
        is_done = status in DONE or (status == "failed" and self.mode["ignore_failures"])
        was_immediate = self.is_immediate
        self._file(report, is_done=is_done)
        if not is_done or status == "stopped":
            self.stop_pending = self.autostart = False
        elif was_immediate or status == "unknown" or self.stop_pending:  # unknown: somebody has the Run Engine in hand
            self.autostart = self.autostart and not self.stop_pending
            self.stop_pending = False
        else:
            self._begin_next()
        self._autostart()

    def lose_environment(self, report: Item) -> None:
        """The environment is gone, and what ran in it has failed."""
        self.environment_exists = False
        if self.running:
            self._file(report, is_done=False)
            self.autostart = self.stop_pending = False

    def open_environment(self) -> None:
        """There is an environment again."""
        if self.environment_exists:
            raise Refused
        self.environment_exists = True
        self._autostart()

    def copy(self) -> QueueModel:
        """The same, to try a command on."""
        other = copy.copy(self)
        other.queue, other.history = [dict(item) for item in self.queue], [dict(item) for item in self.history]
        other.running = dict(self.running) if self.running else None
        other.gone = list(self.gone)
        return other

    def learn(self, item: Item, uid: str) -> None:
        """Take note of the uid that the service has given to an item: it must be a new one."""
        if item["item_uid"] is None:
            assert uid not in self.seen, f"{uid} is used a second time"
            self.seen.add(uid)
            item["item_uid"] = uid

    def _index(self, uid: str | None) -> int:
        for index, item in enumerate(self.queue):
            if item["item_uid"] == uid:
                return index
        raise Refused

    def _at(self, pos: Position) -> int:
        index = {"front": 0, "back": -1}[pos] if isinstance(pos, str) else pos
        assert index is not None
        if not -len(self.queue) <= index < len(self.queue):
            raise Refused
        return index % len(self.queue)

    def _insertion_index(self, pos: Position, before: str | None, after: str | None) -> int:
        running = self.running["item_uid"] if self.running else None
        if before is not None:
            return self._index(before)
        if after is not None:
            return 0 if after == running else self._index(after) + 1
        if isinstance(pos, int):
            return min(pos, len(self.queue)) if pos >= 0 else max(0, len(self.queue) + 1 + pos)
        return 0 if pos == "front" else len(self.queue)

    def _take(self, indices: Iterable[int]) -> list[Item]:
        items = [self.queue[index] for index in indices]
        self.queue = [item for item in self.queue if item not in items]
        self.gone += [item["item_uid"] for item in items]
        return items

    def _place(self, items: list[Item], anchor: Item, *, behind: bool) -> None:
        rest = [item for item in self.queue if item not in items]
        index = rest.index(anchor) + behind
        self.queue = [*rest[:index], *items, *rest[index:]]

    def _begin(self, item: Item, *, is_immediate: bool) -> None:
        self.running, self.is_immediate = item, is_immediate
        self.begun += 1

    def _begin_next(self) -> None:
        self.stop_pending = False
        if not self.queue:
            return
        item = self.queue.pop(0)
        if item["item_type"] == "plan":
            self._begin(item, is_immediate=False)
            return
        self.stopped += 1
        if self.mode["loop"]:
            self.queue.append({**item, "item_uid": None})
        self.autostart = False

    def _file(self, report: Item, *, is_done: bool) -> None:
        item = self.running
        assert item
        filed = {**item, "result": report}
        self.history.append(filed)
        self.running = None
        if self.is_immediate:
            return
        if not is_done:
            self.queue.insert(0, {**filed, "item_uid": None})
        elif self.mode["loop"]:
            self.queue.append({**item, "item_uid": None})

    def _autostart(self) -> None:
        if self.autostart and self.environment_exists and not self.running and self.queue:
            self.start()
