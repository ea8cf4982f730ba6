"""The file of a backup: JSON Lines, each line an object with one key that says what it is.

{"backup": {"version": 1, "instrument": "sim", "time": …, "items_in_queue": 2, …}}    the first line
{"running": {…}}                     what ran, if anything did
{"queue": {…}}                       an item of the queue, the front first
{"history": {…}}                     an item of the history, the oldest first
{"end": {"lines": 5, "sha256": …}}   the last line; what `head -n -1 FILE | sha256sum` says
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from pydantic import ValidationError

from skybus.bus.api.backup import PictureTaken
from skybus.bus.api.items import Item
from skybus.bus.api.queue import QueueMode
from skybus.bus.errors import InvalidError
from skybus.bus.messages import Message, Request, encode
from skybus.bus.version import VERSION
from skybus.client.backups import Contents

FORMAT = 1
PART = 200_000
"""Bytes of a part that is sent at once, or one item if that is larger."""


class Header(Message):
    """What a backup says of itself."""

    version: int = FORMAT
    """Of the format."""
    skybus: str = VERSION
    instrument: str
    time: float
    """Unix seconds."""
    mode: QueueMode
    items_in_queue: int
    items_in_history: int
    plan_queue_uid: str
    plan_history_uid: str

    @classmethod
    def of(cls, picture: PictureTaken, instrument: str) -> Header:
        """The header of a picture."""
        shared = picture.model_dump(include=set(cls.model_fields))
        return cls(instrument=instrument, **shared)


class End(Message):
    """What the last line says of those before."""

    lines: int
    sha256: str


class Line(Request):
    """One line; one of these is set."""

    backup: Header | None = None
    running: Item | None = None
    queue: Item | None = None
    history: Item | None = None
    end: End | None = None


class Writer:
    """Writes a backup."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines = 0
        self._digest = hashlib.sha256()

    def write(self, line: Line) -> None:
        """Write a line."""
        text = encode(line) + b"\n"
        self._file.write(text)
        self._digest.update(text)
        self._lines += 1

    def end(self) -> None:
        """Write the last line."""
        self.write(Line(end=End(lines=self._lines, sha256=self._digest.hexdigest())))


class Backup:
    """A backup that was found whole; it is read twice, so that nothing is done with half of one.

    Args:
        file: can be read again from its beginning.
        instrument: whose backup it must be.
        any_origin: whether it may be one of another instrument or version all the same.

    Raises:
        InvalidError: it is damaged, of another origin, or no backup at all.
    """

    def __init__(self, file: BinaryIO, instrument: str, *, any_origin: bool = False) -> None:
        self._file = file
        self._running: Item = {}
        self.header = self._read_header()
        if not any_origin:
            _require_origin(self.header, instrument)
        self._verify()

    @property
    def contents(self) -> Contents:
        """All but the items that wait or are done."""
        return Contents(**self.header.model_dump(include=set(Contents.model_fields)), running_item=self._running)

    def parts(self) -> Iterator[tuple[list[Item], list[Item]]]:
        """Items of the queue and of the history, as many as are sent at once."""
        queue: list[Item] = []
        history: list[Item] = []
        size = 0
        for line, text in self._lines():
            if size and size + len(text) > PART:
                yield queue, history
                queue, history, size = [], [], 0
            if line.queue is not None:
                queue.append(line.queue)
            if line.history is not None:
                history.append(line.history)
            size += len(text)
        yield queue, history

    def _read_header(self) -> Header:
        self._file.seek(0)
        try:
            header = Line.model_validate_json(self._file.readline()).backup
        except ValidationError:
            header = None
        if header is None:
            raise InvalidError("this is no backup of skybus: its first line does not say so")
        return header

    def _verify(self) -> None:
        digest, counts = hashlib.sha256(), Counter[str]()
        for line, text in self._lines():
            if line.end:
                _require_same(self.header, line.end, counts, digest.hexdigest())
                if self._file.read(1):
                    raise InvalidError("the backup is damaged: something stands behind its last line")
                return
            digest.update(text)
            counts.update(line.model_fields_set)
            self._running = line.running or self._running
        raise InvalidError(f"the backup is not complete: its last line is missing behind line {counts.total()}")

    def _lines(self) -> Iterator[tuple[Line, bytes]]:
        self._file.seek(0)
        for number, text in enumerate(self._file, 1):
            try:
                yield Line.model_validate_json(text), text
            except ValidationError:
                raise InvalidError(f"the backup is damaged: line {number} is not what skybus writes there") from None


def _require_origin(header: Header, instrument: str) -> None:
    if header.version != FORMAT:
        raise InvalidError(f"the backup has format {header.version}, this skybus {FORMAT}: --force reads it anyway")
    if header.instrument != instrument:
        raise InvalidError(
            f"the backup is of instrument {header.instrument!r}, this is {instrument!r}: --force takes it anyway"
        )


def _require_same(header: Header, end: End, counts: Counter[str], digest: str) -> None:
    counted = End(lines=counts.total(), sha256=digest)
    items = (counts["queue"], counts["history"])
    if counted != end or items != (header.items_in_queue, header.items_in_history):
        raise InvalidError("the backup is damaged: its lines are not those that were written")
