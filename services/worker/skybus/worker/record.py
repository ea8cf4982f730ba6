"""What the supervisor remembers of its environment, in `{data_dir}/worker.json`."""

from __future__ import annotations

import fcntl
import os
from io import TextIOWrapper
from pathlib import Path

from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Message


class EnvironmentRecord(Message):
    """The environment that exists."""

    environment_id: str
    pid: int
    start_mark: str
    """Tells the process from a later one with the same pid."""
    since: float
    """Unix seconds."""
    memory_kills: int | None = None
    """What the kernel had killed for want of memory when the process was started."""
    destroyed: str | None = None
    """Why somebody has asked for its death."""


def lock_data_dir(data_dir: Path) -> TextIOWrapper:
    """Keep a second worker away from the environment; the lock ends with the process.

    Raises:
        UnavailableError: one is there already.
    """
    path = data_dir / "worker.lock"
    path.touch(mode=0o600)
    path.chmod(0o600)  # whoever can read a file can lock it
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise UnavailableError(f"another worker runs on {data_dir}") from None
    return lock


class RecordFile:
    """One record, or none."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "worker.json"

    def read(self) -> EnvironmentRecord | None:
        """The record, if there is one that can be read."""
        try:
            return EnvironmentRecord.model_validate_json(self._path.read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, record: EnvironmentRecord | None) -> None:
        """Replace the record."""
        if record is None:
            self._path.unlink(missing_ok=True)
            return
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(record.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
