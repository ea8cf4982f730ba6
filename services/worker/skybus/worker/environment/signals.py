"""The signals of an environment: they reach the asyncio thread at once, whatever the main thread is doing."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from skybus.worker.environment.failures import full_traceback
from skybus.worker.environment.output import say
from skybus.worker.environment.own_process import in_this_process

KEPT_IGNORED = {signal.SIGPIPE, signal.SIGXFSZ}
"""Python itself ignores them, and `subprocess` gives them back to children."""
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as unix(7) has them."""


def ignore_interrupt(_number: int, _frame: FrameType | None) -> None:
    """Survive Ctrl-C. *Ignored* would survive exec: a program that a plan starts could not be interrupted."""


class Contained:
    """A signal handler of user code, while our code has the main thread: what it raises is printed.

    Args:
        handler: as user code has set it.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        try:
            with in_this_process():
                self.handler(number, frame)
        except KeyboardInterrupt:  # Ctrl-C finds nothing to interrupt
            pass
        except BaseException as error:  # it would end our code in the middle
            say(f"The handler of signal {number} has raised an error:\n{full_traceback(error)}")


@contextmanager
def user_code_runs() -> Iterator[None]:
    """Surround user code in the main thread: what its signal handlers raise, such as a timeout, reaches it."""
    for number, handler in _python_handlers():
        if isinstance(handler, Contained):
            signal.signal(number, handler.handler)
    try:
        yield
    finally:
        for number, handler in _python_handlers():
            if not isinstance(handler, Contained) and not _is_ours(handler):
                signal.signal(number, Contained(handler))


def _is_ours(handler: object) -> bool:
    """Whether a signal handler is one of this package, which raises nothing."""
    return (getattr(handler, "__module__", None) or "").startswith("skybus.")


def _python_handlers() -> list[tuple[signal.Signals, Callable[[int, FrameType | None], Any]]]:
    found = [(number, signal.getsignal(number)) for number in signal.valid_signals()]
    return [(number, handler) for number, handler in found if callable(handler)]  # pyright: ignore[reportReturnType]


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
