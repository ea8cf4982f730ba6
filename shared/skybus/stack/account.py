"""Another account of this machine, in which the worker and its environments run, and what it is given."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skybus.bus.errors import InvalidError
from skybus.bus.settings import CREDENTIALS_DIR
from skybus.stack.credentials import ENVIRONMENT, ensure_credentials
from skybus.stack.private_file import write_private

WORKER = "worker"


@dataclass(frozen=True)
class Account:
    """An account that is not root."""

    name: str
    uid: int
    gid: int
    home: str

    @classmethod
    def named(cls, name: str) -> Account:
        """Find an account.

        Raises:
            InvalidError: there is none, it is root, or we may not become it.
        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise InvalidError(f"the account {name!r}, in which environments are to run, does not exist") from None
        if entry.pw_uid == 0:
            raise InvalidError("environments are to run in the account of root: name another one")
        if os.getuid() != 0:
            raise InvalidError(
                f"only root can run environments in the account {name!r}: docs/security.md shows a unit for the worker"
            )
        return cls(name, entry.pw_uid, entry.pw_gid, entry.pw_dir)

    @property
    def process_options(self) -> dict[str, Any]:
        """What makes a new process belong to it."""
        return {"user": self.uid, "group": self.gid, "extra_groups": os.getgrouplist(self.name, self.gid)}

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a process knows whose it is."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


@dataclass(frozen=True)
class Separation:
    """What the worker of another account gets of a data directory: a folder of its own, and two files of credentials.

    We write into folders of ours alone: in one of the account, a link could lead us anywhere.
    """

    account: Account
    data_dir: Path

    @property
    def own(self) -> Path:
        """The data directory of the worker, which belongs to the account."""
        return self.data_dir / "separate"

    @property
    def given(self) -> Path:
        """What the account may read."""
        return self.data_dir / "given"

    def make(self) -> None:
        """Make both folders, and let the account pass through the data directory, where all else is private."""
        self.data_dir.chmod(self.data_dir.stat().st_mode | 0o011)
        for folder, owner, mode in ((self.own, self.account.uid, 0o700), (self.given, os.getuid(), 0o750)):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, owner, self.account.gid)
            folder.chmod(mode)
        ensure_credentials(self.data_dir)
        for name in (WORKER, ENVIRONMENT):
            file = self.given / f"{name}.json"
            write_private(file, (self.data_dir / CREDENTIALS_DIR / file.name).read_text())
            os.chown(file, os.getuid(), self.account.gid)
            file.chmod(0o640)

    def settings(self, instrument: str, nats_url: str) -> dict[str, str]:
        """What the worker is told instead of the data directory of the stack."""
        return {
            **self.account.environment,
            "SKYBUS_DATA_DIR": str(self.own),
            "SKYBUS_INSTRUMENT": instrument,
            "SKYBUS_NATS_URL": nats_url,
            "SKYBUS_CREDENTIALS_FILE": str(self.given / f"{WORKER}.json"),
            "SKYBUS_ENVIRONMENT_CREDENTIALS_FILE": str(self.given / f"{ENVIRONMENT}.json"),
        }
