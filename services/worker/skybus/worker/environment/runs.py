"""The runs that an attempt has opened, told from its documents."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from skybus.bus.api.engine import Run

SHOWN = 1000
"""Runs in the list; there are more only if more are open."""


class RunList:
    """Runs in the order they were opened."""

    def __init__(self) -> None:
        self.shown: list[Run] = []
        """The newest, and the open ones: the list goes out whole with each change."""
        self.run_uids: list[str] = []
        """Of all runs."""
        self.scan_ids: list[int | None] = []
        """Of all runs."""
        self.exit_statuses: set[str | None] = set()
        """Of all closed runs."""
        self.told: dict[str, Any] = {}
        """What the state says of the list; replaced as a whole, since another thread reads it."""

    @property
    def newest(self) -> Run:
        """The one that was opened last."""
        return self.shown[-1]

    def take(self, name: str, document: Mapping[str, Any]) -> bool:
        """Learn from a document; tell whether the list has changed."""
        if name == "start":
            self._open(Run(uid=document["uid"], scan_id=_scan_id(document)))
        elif name == "stop":
            self.exit_statuses.add(document.get("exit_status"))
            self.shown = [_closed(run, document) if run.uid == document["run_start"] else run for run in self.shown]
        else:
            return False
        self.told = {"runs": self.shown, "run_list_uid": str(uuid.uuid4())}
        return True

    def _open(self, run: Run) -> None:
        self.run_uids.append(run.uid)
        self.scan_ids.append(run.scan_id)
        closed = [other.uid for other in self.shown if not other.is_open]
        left_out = set(closed[: max(0, len(self.shown) + 1 - SHOWN)])
        self.shown = [*(other for other in self.shown if other.uid not in left_out), run]


def _closed(run: Run, stop: Mapping[str, Any]) -> Run:
    return run.model_copy(update={"is_open": False, "exit_status": stop.get("exit_status")})


def _scan_id(start: Mapping[str, Any]) -> int | None:
    try:
        return int(start["scan_id"])
    except (KeyError, TypeError, ValueError):  # a site may count its scans in another way
        return None
