"""The runs that an attempt has opened, told from its documents."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from skybus.bus.api.engine import Run


class RunList:
    """Runs in the order they were opened."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.uid = _new_uid()
        """Changes with the list."""

    @property
    def run_uids(self) -> list[str]:
        """The uids of all runs."""
        return [run.uid for run in self.runs]

    @property
    def scan_ids(self) -> list[int | None]:
        """The scan ids of all runs."""
        return [run.scan_id for run in self.runs]

    def take(self, name: str, document: Mapping[str, Any]) -> bool:
        """Learn from a document; tell whether the list has changed."""
        if name == "start":
            self.runs = [*self.runs, Run(uid=document["uid"], scan_id=_scan_id(document))]
        elif name == "stop":
            self.runs = [_closed(run, document) if run.uid == document["run_start"] else run for run in self.runs]
        else:
            return False
        self.uid = _new_uid()
        return True


def _closed(run: Run, stop: Mapping[str, Any]) -> Run:
    return run.model_copy(update={"is_open": False, "exit_status": stop.get("exit_status")})


def _scan_id(start: Mapping[str, Any]) -> int | None:
    try:
        return int(start["scan_id"])
    except (KeyError, TypeError, ValueError):  # a site may count its scans in another way
        return None


def _new_uid() -> str:
    return str(uuid.uuid4())
