"""Standard output and standard error of the environment: taken at the file descriptors, in the order it was written.

Both descriptors are one FIFO, so prints of Python, of C libraries and of child processes come in one row. The asyncio
thread reads it. The thread that starts and ends plans empties it before it changes the item's name, so that each piece
carries the item that was running when it was written.
"""

from __future__ import annotations

import asyncio
import codecs
import ctypes
import fcntl
import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PIPE_BYTES = 1 << 20
READ_BYTES = 1 << 16
GATHER = 0.002
"""Seconds that output is left to gather before it is read: one message for a burst of prints."""
_IOLBF = 1
_READS_AT_ONCE = 32

Emit = Callable[[str, str | None], None]
"""Takes text and the uid of the item that was running."""


class Output:
    """What is written to descriptors 1 and 2."""

    def __init__(self, fifo: Path, item_file: Path, emit: Emit) -> None:
        self._reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._writer = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
        self._item_file = os.open(item_file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._emit = emit
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._item_uid: str | None = None
        _enlarge(self._writer)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Ours; 1 and 2 are those of user code and its children."""
        return self._reader, self._writer, self._item_file

    def capture(self) -> None:
        """Send everything that is written from now on into the FIFO."""
        sys.stdout.flush()
        sys.stderr.flush()
        for fd in (1, 2):
            os.dup2(self._writer, fd)
        _buffer_c_output_by_line()

    def read_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read whenever there is something; to be called in the loop's thread."""
        loop.add_reader(self._reader, self._on_readable, loop)

    def set_item(self, item_uid: str | None) -> None:
        """Give a name to what is written from now on; what was written before keeps the old one."""
        _flush_c_output()
        with self._lock:
            while self._read():
                pass
            self._item_uid = item_uid
            self._note_item((item_uid or "").encode())

    def read_rest(self) -> None:
        """Read what there is."""
        self.set_item(self._item_uid)

    def _note_item(self, name: bytes) -> None:
        with suppress(OSError):  # the disk is full: after a SIGKILL, the last output may get another name
            os.pwrite(self._item_file, name, 0)
            os.ftruncate(self._item_file, len(name))

    def _on_readable(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._reader)
        loop.call_later(GATHER, self._read_gathered, loop)

    def _read_gathered(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with self._lock:
                for _ in range(_READS_AT_ONCE):
                    if not self._read():
                        break
        finally:  # if nobody read any more, every print would wait for ever
            self.read_on(loop)

    def _read(self) -> bool:
        """Read once; tell whether there may be more."""
        try:
            data = os.read(self._reader, READ_BYTES)
        except BlockingIOError:
            return False
        if text := self._decoder.decode(data):
            self._emit(text, self._item_uid)
        return bool(data)


def say(text: str) -> None:
    """Write a line of our own, whatever user code has made of `sys.stdout`."""
    with suppress(OSError):
        _WholeWrites(1, "wb", closefd=False).write(f"{text}\n".encode(errors="backslashreplace"))


def unbuffer_python() -> None:
    """Make `print` reach the descriptor at once, so that it keeps its order with what C code writes."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        raw = _WholeWrites(fd, "wb", closefd=False)
        raw.name = f"<{name}>"
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        stream.mode = "w"  # pyright: ignore[reportAttributeAccessIssue] - as that of any Python
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class _WholeWrites(io.FileIO):
    """A raw file that does not stop half-way: a text stream on top of it would lose the rest."""

    def seekable(self) -> bool:
        """Deny it: `FileIO` and text streams remember the answer, and the FIFO that replaces the file cannot seek."""
        return False

    def write(self, data: object) -> int:  # type: ignore[override]
        """Write all of it."""
        rest = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = len(rest)
        while len(rest):
            rest = rest[super().write(rest) or 0 :]
        return size


def _enlarge(fifo: int) -> None:
    with suppress(OSError):  # over the user's limit: 64 KiB will do
        fcntl.fcntl(fifo, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _c_stdout() -> tuple[ctypes.CDLL, ctypes.c_void_p] | None:
    try:
        libc = ctypes.CDLL(None)
        return libc, ctypes.c_void_p.in_dll(libc, "stdout")
    except (OSError, ValueError):  # not the GNU C library
        return None


def _buffer_c_output_by_line() -> None:
    if found := _c_stdout():
        libc, stdout = found
        libc.setvbuf.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t)
        libc.setvbuf(stdout, None, _IOLBF, 0)


def _flush_c_output() -> None:
    if found := _C_STDOUT:
        libc, stdout = found
        libc.fflush(stdout)


_C_STDOUT = _c_stdout()
