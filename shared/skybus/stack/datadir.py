"""The data directory: one stack at a time, held by a lock that also its servers hold.

The servers inherit the locked file. If `skybus up` is killed, the lock stays until the last of them is gone, so that no
two nats-servers ever work on one store (nats-server itself takes no lock).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from skybus.bus.errors import ConflictError, UnavailableError

LONGEST_SOCKET_PATH = 107
"""Bytes; what Linux takes."""
_LONGEST_NAME = 27
"""Bytes of the name of a socket in the folder of sockets, with the slash before it."""
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
        """A folder with a short name, for unix sockets."""
        inside = self.path / "run"
        if _is_short(inside):
            return inside
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"skybus-{os.getuid()}-{digest}"

    @property
    def zmq_control(self) -> Path:
        """The socket for the requests of 0MQ clients."""
        return self.sockets / "zmq-control.sock"

    @property
    def zmq_info(self) -> Path:
        """The socket on which 0MQ clients read console output and status."""
        return self.sockets / "zmq-info.sock"

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
    try:
        for folder in (data_dir.logs, data_dir.nats, data_dir.valkey):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(data_dir.sockets, path.stat().st_uid)
    except BaseException:
        os.close(lock_fd)
        raise
    return data_dir


def _make_private(folder: Path, owner: int) -> None:
    """Make the folder of sockets, into which no other account may reach; in /tmp somebody else may have made it.

    Raises:
        UnavailableError: somebody has, or its path is too long.
    """
    if not _is_short(folder):
        raise UnavailableError(f"the path {folder} is too long for unix sockets: set TMPDIR to a shorter folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.getuid(), owner):
        raise UnavailableError(f"{folder} is not a folder of this account: remove it, or choose another --data-dir")
    folder.chmod(0o700)


def _is_short(folder: Path) -> bool:
    return len(os.fsencode(folder)) <= LONGEST_SOCKET_PATH - _LONGEST_NAME


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
