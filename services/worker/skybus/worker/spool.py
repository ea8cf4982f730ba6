"""An ordered log of messages on disk, read by position: what the outbox has not yet delivered.

It is a row of segment files. Appending is one write to the page cache, so a message survives the SIGKILL of the
process from that moment on. How far it has been delivered is kept in a small file. Whoever opens the folder later goes
on from there. One delivered segment is left, from which the last output of a dead process can be told.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog

log = structlog.get_logger()

SEGMENT_BYTES = 1 << 20
READ_BYTES = 1 << 18
BATCH_BYTES = 1 << 20
"""After so many bytes no further message is read at once."""
KEPT_SEGMENTS = 1
"""Delivered segments that stay."""

_FRAME = struct.Struct("<III")
"""Length of the head (JSON: subject and headers), length of the body, CRC-32 of both."""
_POSITION = struct.Struct("<QQ")


class Record(NamedTuple):
    """A message."""

    subject: str
    headers: dict[str, str]
    body: bytes


class Position(NamedTuple):
    """A place between two messages."""

    segment: int
    offset: int


class Spool:
    """The messages of one folder; `append` may be called from any thread, the rest from one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._segments = sorted(int(path.stem) for path in folder.glob("*.spool")) or [0]
        self._writer = self._open(self._segments[-1])
        self._reader = (self._segments[-1], os.dup(self._writer))
        self._end = Position(self._segments[-1], self._sound_bytes(self._segments[-1]))
        os.ftruncate(self._writer, self._end.offset)
        self._position_file = os.open(folder / "delivered", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._delivered = self._read_delivered()
        self._damaged = set[Position]()

    @property
    def end(self) -> Position:
        """Behind the last message."""
        return self._end

    @property
    def delivered(self) -> Position:
        """Behind the last message that was delivered."""
        return self._delivered

    @property
    def delivered_at(self) -> float:
        """When the last message was delivered, unix seconds; before the first, when the spool was made."""
        return os.fstat(self._position_file).st_mtime

    @property
    def is_delivered(self) -> bool:
        """Whether nothing is left to do."""
        if self._end.offset == 0:  # nothing can be behind what is damaged
            return not self.read(self._delivered, 1)
        return self._delivered == self._end

    def append(self, record: Record) -> Position:
        """Write a message and return the position behind it."""
        head = orjson.dumps([record.subject, record.headers])
        crc = zlib.crc32(record.body, zlib.crc32(head))
        frame = b"".join((_FRAME.pack(len(head), len(record.body), crc), head, record.body))
        with self._lock:
            if self._end.offset >= SEGMENT_BYTES:
                self._roll()
            self._write(frame)
            self._end = Position(self._end.segment, self._end.offset + len(frame))
            return self._end

    def read(self, at: Position, most: int) -> list[tuple[Record, Position]]:
        """Read some messages behind a position, `most` at the most, each with the position behind it.

        What a power loss has damaged is skipped: the rest of its segment.
        """
        end = self._end
        while at < end:
            stop = end.offset if at.segment == end.segment else os.fstat(self._fd(at.segment)).st_size
            if batch := list(self._parse(at, stop, most)):
                return batch
            if at.offset < stop:
                self._tell_damage(at, stop)
            at = Position(at.segment + 1, 0)
        return []

    def first(self) -> Position:
        """The oldest message that is still there."""
        return Position(self._segments[0], 0)

    def recent(self) -> Position:
        """Where the last two segments begin."""
        return max(self.first(), Position(self._end.segment - 1, 0))

    def set_delivered(self, position: Position) -> None:
        """Remember that everything before a position was delivered, and drop what is no longer needed.

        If the disk has no room, who opens the folder later delivers some of it again.
        """
        self._delivered = position
        with suppress(OSError):
            os.pwrite(self._position_file, _POSITION.pack(*position), 0)
        while self._segments[0] < position.segment - KEPT_SEGMENTS:
            self._path(self._segments.pop(0)).unlink(missing_ok=True)

    def sync(self, segment: int) -> None:
        """Make a segment outlast a crash of the machine; may be called from any thread."""
        try:
            fd = os.open(self._path(segment), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # delivered long ago
            return
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the files."""
        for fd in (self._writer, self._reader[1], self._position_file):
            os.close(fd)

    def _parse(self, at: Position, stop: int, most: int) -> Iterator[tuple[Record, Position]]:
        data, start = b"", at.offset
        offset = at.offset
        while most > 0 and offset + _FRAME.size <= stop and offset - at.offset < BATCH_BYTES:
            if offset + _FRAME.size > start + len(data):
                data, start = self._pread(at.segment, offset, READ_BYTES, stop), offset
            head_size, body_size, _ = _FRAME.unpack_from(data, offset - start)
            after = offset + _FRAME.size + head_size + body_size
            if after > start + len(data):
                data, start = self._pread(at.segment, offset, max(READ_BYTES, after - offset), stop), offset
            if not _is_sound(data, offset - start):
                return
            body = offset - start + _FRAME.size + head_size
            subject, headers = orjson.loads(data[body - head_size : body])
            yield Record(subject, headers, data[body : body + body_size]), Position(at.segment, after)
            offset, most = after, most - 1

    def _pread(self, segment: int, offset: int, size: int, stop: int) -> bytes:
        return os.pread(self._fd(segment), min(size, stop - offset), offset)

    def _tell_damage(self, at: Position, stop: int) -> None:
        if at not in self._damaged:
            self._damaged.add(at)
            file = str(self._path(at.segment))
            log.error("messages are lost: a spool is damaged", file=file, offset=at.offset, bytes=stop - at.offset)

    def _fd(self, segment: int) -> int:
        if self._reader[0] != segment:
            fd = self._open(segment)
            os.close(self._reader[1])
            self._reader = (segment, fd)
        return self._reader[1]

    def _write(self, frame: bytes) -> None:
        written = 0
        try:
            while written < len(frame):
                written += os.pwrite(self._writer, frame[written:], self._end.offset + written)
        except OSError:
            os.ftruncate(self._writer, self._end.offset)
            raise

    def _roll(self) -> None:
        number = self._end.segment + 1
        new = self._open(number)
        os.close(self._writer)
        self._writer = new
        self._segments.append(number)
        self._end = Position(number, 0)

    def _sound_bytes(self, segment: int) -> int:
        """How much of a segment is whole messages; a process that was killed may have left a torn one."""
        data = os.pread(self._writer, os.fstat(self._writer).st_size, 0)
        offset = 0
        while offset + _FRAME.size <= len(data):
            if not _is_sound(data, offset):
                break
            head_size, body_size, _ = _FRAME.unpack_from(data, offset)
            offset += _FRAME.size + head_size + body_size
        return offset

    def _read_delivered(self) -> Position:
        raw = os.pread(self._position_file, _POSITION.size, 0)
        position = Position(*_POSITION.unpack(raw)) if len(raw) == _POSITION.size else self.first()
        return min(max(position, self.first()), self._end)

    def _open(self, segment: int) -> int:
        return os.open(self._path(segment), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.spool"


def _is_sound(data: bytes, offset: int) -> bool:
    """Whether there is a whole message at a place."""
    head_size, body_size, crc = _FRAME.unpack_from(data, offset)
    begin = offset + _FRAME.size
    after = begin + head_size + body_size
    return head_size > 0 and after <= len(data) and zlib.crc32(memoryview(data)[begin:after]) == crc
