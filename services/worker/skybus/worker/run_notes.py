"""The runs of the present attempt, on disk: a plan that is lost with its environment is filed with all of them.

A line for the attempt, then one for each run. They are in the kernel's hands at once, so they outlive a SIGKILL.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from skybus.bus.api.engine import Run
from skybus.bus.messages import encode


class RunNotes:
    """Written by the environment; what a full disk does not take is left out."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def begin(self, attempt: str) -> None:
        """Forget the attempt before, and take note of this one."""
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.write(self._file, attempt.encode() + b"\n")

    def add(self, run: Run) -> None:
        """Take note of a run that has been opened; called in any thread."""
        with suppress(OSError):
            os.write(self._file, encode(run) + b"\n")

    def close(self) -> None:
        """Close the file; the process does so when it ends."""
        os.close(self._file)


def read_notes(path: Path) -> tuple[str, list[Run]]:
    """The attempt that was begun last, and the runs that it has opened."""
    try:
        attempt, *lines = path.read_bytes().split(b"\n")
    except OSError:
        return "", []
    return attempt.decode(errors="replace"), [run for line in lines if (run := _read(line))]


def _read(line: bytes) -> Run | None:
    try:
        return Run.model_validate_json(line)
    except ValidationError:  # it was not written to its end
        return None
