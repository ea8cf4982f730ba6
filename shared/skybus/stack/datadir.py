"""The data directory: one stack at a time, held by a lock that also its servers hold.

The servers inherit the locked file. If `skybus up` is killed, the lock stays until the last of them is gone, so that no
two nats-servers ever work on one store (nats-server itself takes no lock).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from skybus.bus.errors import ConflictError, UnavailableError

_LONGEST_SOCKET_PATH = 80
_LEFT_OVER_PATIENCE = 10.0
"""Seconds to wait for the servers of a stack whose `up` was killed."""


@dataclass(frozen=True)
class DataDir:
    """The folders below the data directory, made when the lock was taken."""

    path: Path
    lock_fd: int

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.path / "logs"

    @property
    def nats(self) -> Path:
        """JetStream's store and the server's configuration."""
        return self.path / "nats"

    @property
    def valkey(self) -> Path:
        """The append-only file."""
        return self.path / "valkey"

    @property
    def sockets(self) -> Path:
        """A folder with a short name: the path of a unix socket has at most 107 bytes."""
        inside = self.path / "run"
        if len(str(inside)) <= _LONGEST_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"skybus-{os.getuid()}-{digest}"

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self.lock_fd)


def take(path: Path) -> DataDir:
    """Take the data directory.

    Raises:
        ConflictError: another `skybus up` runs on it.
        UnavailableError: it cannot be made or written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UnavailableError(f"cannot use the data directory {path}: {error.strerror}") from None
    try:
        _lock(path, lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, str(os.getpid()).encode(), 0)
    data_dir = DataDir(path.resolve(), lock_fd)
    for folder in (data_dir.logs, data_dir.nats, data_dir.valkey, data_dir.sockets):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data_dir


def _lock(path: Path, lock_fd: int) -> None:
    deadline = time.monotonic() + _LEFT_OVER_PATIENCE
    while not _try_lock(lock_fd):
        holder = int(os.pread(lock_fd, 20, 0) or b"0")
        if _is_alive(holder):
            raise ConflictError(
                f"{path} is in use: `skybus up` runs there as process {holder}. Stop it, or choose another --data-dir"
            )
        if time.monotonic() > deadline:
            raise ConflictError(
                f"{path} is in use by servers of a stack that was killed; `fuser {path}/lock` names them"
            )
        time.sleep(0.02)  # they are on their way out and nothing tells when


def _try_lock(lock_fd: int) -> bool:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0
