"""The folder of one environment, `{data_dir}/environments/{environment_id}`: what lies where.

Both processes use it: the environment while it lives, the supervisor when it is dead.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENTS = "environments"


@dataclass(frozen=True)
class EnvironmentFolder:
    """Names the files of an environment."""

    path: Path

    @classmethod
    def of(cls, data_dir: Path, environment_id: str) -> EnvironmentFolder:
        """The folder of an environment, which may not exist yet."""
        return cls(data_dir / ENVIRONMENTS / environment_id)

    @property
    def environment_id(self) -> str:
        """Whose folder it is."""
        return self.path.name

    @property
    def fifo(self) -> Path:
        """Where the environment's standard output and standard error go."""
        return self.path / "console.fifo"

    @property
    def spool(self) -> Path:
        """Messages that JetStream may not have yet."""
        return self.path / "spool"

    @property
    def log(self) -> Path:
        """The log of the environment's own machinery; plan code does not write here."""
        return self.path / "environment.log"

    @property
    def undelivered(self) -> Path:
        """Bodies that no stream takes, for people to look at."""
        return self.path / "undelivered"

    @property
    def item(self) -> Path:
        """The uid of the item that runs, so that the last output gets its name even after a SIGKILL."""
        return self.path / "item"

    @property
    def runs(self) -> Path:
        """The runs that the present attempt has opened; see `run_notes.py`."""
        return self.path / "runs"

    @property
    def closing(self) -> Path:
        """Exists if somebody asked the environment to close."""
        return self.path / "closing"

    @property
    def exit_code(self) -> Path:
        """Written by an environment that ends by itself: nobody else sees the exit code of an adopted process."""
        return self.path / "exit_code"

    def make(self) -> None:
        """Make the folder and the FIFO."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)  # what plans print and measure is for no other account
        if not self.fifo.exists():
            os.mkfifo(self.fifo, 0o600)

    def remove(self) -> None:
        """Remove everything, unless there are bodies that could not be delivered."""
        if self.undelivered.exists():
            return
        shutil.rmtree(self.path, ignore_errors=True)
