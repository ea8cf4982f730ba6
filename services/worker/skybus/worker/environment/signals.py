"""The signals of an environment: they reach the asyncio thread at once, whatever the main thread is doing."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

KEPT_IGNORED = {signal.SIGPIPE, signal.SIGXFSZ}
"""Python itself ignores them, and `subprocess` gives them back to children."""
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as unix(7) has them."""


def ignore_interrupt(_number: int, _frame: FrameType | None) -> None:
    """Survive Ctrl-C. *Ignored* would survive exec: a program that a plan starts could not be interrupted."""


def start_afresh() -> None:
    """Undo what those have ignored or blocked who started this process: programs that plans start would inherit it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - KEPT_IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, ignore_interrupt)


class SignalSocket:
    """Where Python's signal handler writes; only what this very process got is read.

    A child that was forked shares the socket until `children` or exec takes it away. The kernel says who has written.

    Args:
        on_sigterm: called in the main thread as soon as that is free, in case user code has taken the socket's place.
    """

    def __init__(self, on_sigterm: Callable[[int, FrameType | None], object]) -> None:
        self._on_sigterm = on_sigterm
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._reader.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._pid = os.getpid()

    def fileno(self) -> int:
        """The end that becomes readable."""
        return self._reader.fileno()

    @property
    def descriptors(self) -> tuple[int, int]:
        """Both ends."""
        return self._reader.fileno(), self._writer.fileno()

    def listen(self) -> None:
        """Take what user code has not set, or no longer, as after the end of an event loop of its own.

        To be called in the main thread.
        """
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)
        before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        if before not in (-1, self._writer.fileno()):
            with suppress(ValueError, OSError):  # it may be closed by now
                signal.set_wakeup_fd(before)

    def read(self) -> bytes:
        """The numbers of the signals that have come, a byte each."""
        try:
            numbers, ancillary, *_ = self._reader.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return b""
        writers = {_CREDENTIALS.unpack_from(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS}
        return numbers if writers == {self._pid} else b""
