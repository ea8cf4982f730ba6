"""Takes messages into a spool, also while the disk has no room: they wait in memory until it has.

What must not be lost waits there however much it is; of the rest, what is too much is lost.
"""

from __future__ import annotations

import threading
from collections import deque

import structlog

from skybus.worker.spool import Position, Record, Spool

log = structlog.get_logger()

WAITING_BYTES = 16 << 20
"""Bodies that wait."""


class Intake:
    """The way into a spool; may be used from any thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._waiting: deque[Record] = deque()
        self._bytes = 0
        self._lost = 0
        self._is_told = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def take(self, record: Record, *, durable: bool) -> Position | None:
        """Write a message behind those that wait, and return the position behind it; nothing if it has to wait too.

        A durable one must not be lost.
        """
        with self._lock:
            try:
                self._write_waiting()
                after = self._spool.append(record)
            except OSError as error:
                self._tell(error)
                self._keep(record, durable=durable)
                return None
            self._tell_room()
            return after

    def write_waiting(self) -> bool:
        """Write what waits, and tell whether nothing waits any more."""
        with self._lock:
            try:
                self._write_waiting()
            except OSError:
                return False
            self._tell_room()
            return True

    def _write_waiting(self) -> None:
        while self._waiting:
            self._spool.append(self._waiting[0])
            self._bytes -= len(self._waiting.popleft().body)

    def _keep(self, record: Record, *, durable: bool) -> None:
        if durable or self._bytes + len(record.body) <= WAITING_BYTES:
            self._waiting.append(record)
            self._bytes += len(record.body)
            return
        if not self._lost:
            log.error("messages are lost: the spool cannot be written, and too many wait", subject=record.subject)
        self._lost += 1

    def _tell(self, error: OSError) -> None:
        if not self._is_told:
            log.error("messages wait in memory: they cannot be written to the spool", error=str(error))
        self._is_told = True

    def _tell_room(self) -> None:
        if self._is_told:
            log.warning("messages can be written to the spool again", lost=self._lost)
        self._is_told, self._lost = False, 0
