"""What is left to do when an environment process is gone: its last output, the account of its exit, its spool."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass

from skybus.bus import headers
from skybus.bus.api.internal import EnvironmentExited
from skybus.bus.messages import encode
from skybus.bus.subjects import Subjects
from skybus.worker.console_message import console_message
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.processes import say_exit
from skybus.worker.run_notes import read_notes
from skybus.worker.spool import Record, Spool

TAIL_LINES = 120
TAIL_CHARS = 16_000
CHUNK_BYTES = 1 << 16
REST_BYTES = 2 << 20
"""More than a FIFO holds: a child of the environment may go on writing."""


@dataclass(frozen=True)
class End:
    """How a process has ended, as far as the supervisor knows."""

    exit_code: int | None
    """A negative signal number, or nothing if only its parent could see it."""
    destroyed: str | None
    """Why somebody has asked for its death."""
    memory_kill: bool
    """Whether the kernel has killed somebody for want of memory while it lived."""


def open_fifo(folder: EnvironmentFolder) -> int | None:
    """Hold the FIFO of a living environment, so that what it wrote last outlives it."""
    try:
        return os.open(folder.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


class Aftermath:
    """The last output of an environment and the account of its exit."""

    def __init__(self, folder: EnvironmentFolder, subjects: Subjects, fifo: int | None, end: End) -> None:
        self.folder = folder
        self._subjects = subjects
        self._end = end
        self._rest = deque(enumerate(_rest(fifo)))

    def write(self) -> EnvironmentExited:
        """Put it into the spool, behind everything that the environment has said.

        Raises:
            OSError: the disk does not take all of it; to be called again.
        """
        spool = Spool(self.folder.spool)
        try:
            return self._write_into(spool)
        finally:
            spool.close()

    def _write_into(self, spool: Spool) -> EnvironmentExited:
        environment_id = self.folder.environment_id
        item_uid = _read(self.folder.item) or None
        while self._rest:
            number, text = self._rest[0]
            subject, body, head = console_message(self._subjects, text, item_uid)
            _append(spool, subject, body, f"{environment_id}:rest:{number}", head)
            self._rest.popleft()
        exited = _account(self.folder, _tail(spool, self._subjects), self._end)
        _append(spool, self._subjects.life("exited"), encode(exited), f"exited:{environment_id}", {})
        return exited


def _append(spool: Spool, subject: str, body: bytes, message_id: str, head: dict[str, str]) -> None:
    spool.append(Record(subject, {headers.MESSAGE_ID: message_id, **head}, body))


def _account(folder: EnvironmentFolder, output_tail: str, end: End) -> EnvironmentExited:
    exit_code = end.exit_code
    if exit_code is None and (left := _read(folder.exit_code)):
        exit_code = int(left)
    closing = folder.closing.exists()
    if end.destroyed is not None:
        msg = f"The environment was destroyed{end.destroyed and f': {end.destroyed}'}"
    elif closing and not exit_code:
        msg = "The environment was closed"
    else:
        msg = say_exit(exit_code, memory_kill=end.memory_kill)
    attempt, runs = read_notes(folder.runs)
    return EnvironmentExited(
        environment_id=folder.environment_id,
        attempt=attempt,
        runs=runs,
        exit_code=exit_code,
        requested=closing or end.destroyed is not None,
        msg=msg,
        output_tail=output_tail,
    )


def _tail(spool: Spool, subjects: Subjects) -> str:
    """The last lines of output that the spool still has, delivered or not."""
    console = subjects.console("worker.")
    pieces: list[bytes] = []
    at = spool.recent()
    while batch := spool.read(at, 1000):
        at = batch[-1][1]
        pieces += [record.body for record, _ in batch if record.subject.startswith(console)]
    text = b"".join(pieces)[-4 * TAIL_CHARS :].decode("utf-8", "replace")
    return "".join(text.splitlines(keepends=True)[-TAIL_LINES:])[-TAIL_CHARS:]


def _rest(fifo: int | None) -> list[str]:
    """What nobody has read from the FIFO."""
    if fifo is None:
        return []
    data = b""
    try:
        while len(data) < REST_BYTES and (piece := os.read(fifo, CHUNK_BYTES)):
            data += piece
    except BlockingIOError:
        pass
    text = data.decode("utf-8", "replace")
    size = CHUNK_BYTES // 4
    return [text[start : start + size] for start in range(0, len(text), size)]


def _read(path: os.PathLike[str]) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""
