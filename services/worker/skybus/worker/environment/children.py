"""What a forked child must not inherit from us: signal handlers, the wake-up descriptor, sockets and files.

A child that is started by exec loses handlers and descriptors by that; all our descriptors are close-on-exec.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from skybus.bus.logs import lines
from skybus.worker.environment.signals import Contained, SignalSocket

MACHINERY = ("skybus.", "bluesky.", "ipykernel.", "IPython.")
"""Signal handlers of these packages serve the process that runs plans; those of user code stay in its children."""
HELD = (signal.SIGINT, signal.SIGTERM)
"""Signals that wait while a fork is under way: a child that is ended at once must not take them for the parent's."""
_OF_THE_PARENT: list[TextIO | None] = []
"""Kept in a child: Python would warn of a file that is dropped before it is closed, and its lock may be held."""
_OPEN = Path("/proc/self/fd")

Descriptors = Callable[[], Iterable[int]]


class Children:
    """Makes each forked child of this process one of its own.

    Args:
        folder: of the environment; files that are open in it are ours.
        signals: to which the wake-up descriptor belongs.
    """

    def __init__(self, folder: Path, signals: SignalSocket) -> None:
        self._folder = f"{folder.resolve()}/"
        self._signals = signals
        self._descriptors: list[Descriptors] = [lambda: signals.descriptors]
        self._mask = threading.local()
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def keep_from(self, descriptors: Descriptors) -> None:
        """Name descriptors that no child gets; they are asked for when there is one."""
        self._descriptors.append(descriptors)

    def watch(self) -> None:
        """Begin; there is no end."""
        os.register_at_fork(
            before=self._hold_signals, after_in_parent=self._release_signals, after_in_child=self._set_free
        )

    def _hold_signals(self) -> None:
        self._mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)

    def _release_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.before)

    def _set_free(self) -> None:
        """Runs in the child, before anything else does."""
        try:
            _OF_THE_PARENT.append(lines.output)
            lines.output = open(os.devnull, "w")  # noqa: PTH123, SIM115 - another thread may hold the lock of the old one
            _restore_signals(self._signals.descriptors)
            for descriptor in set(self._ours()):
                os.dup2(self._null, descriptor, inheritable=False)  # the number stays taken: something may close it
            self._descriptors.clear()  # the child may use the numbers for files of its own, and fork, too
        finally:
            self._release_signals()

    def _ours(self) -> Iterator[int]:
        for descriptors in self._descriptors:
            yield from descriptors()
        for descriptor, target in open_descriptors():
            if target.startswith(self._folder) and not target.endswith(".fifo"):
                yield descriptor


def open_descriptors() -> Iterator[tuple[int, str]]:
    """The open descriptors of this process, each with what it refers to."""
    for link in _OPEN.iterdir():
        with suppress(OSError):
            yield int(link.name), str(link.readlink())


def sockets_on(ports: set[int]) -> Iterator[int]:
    """Sockets that have one of these ports at either end: those that listen, and both sides of connections to them."""
    for descriptor, target in open_descriptors():
        if target.startswith("socket:") and _ports(descriptor) & ports:
            yield descriptor


def _ports(descriptor: int) -> set[int]:
    sock, found = socket.socket(fileno=descriptor), set[int]()
    for ask in (sock.getsockname, sock.getpeername):
        with suppress(OSError):
            address = ask()
            found |= {address[1]} if isinstance(address, tuple) else set()
    sock.detach()
    return found


def _restore_signals(ours: Collection[int]) -> None:
    """Restore the defaults, but for what user code has set."""
    wakeup = signal.set_wakeup_fd(-1)
    if wakeup >= 0 and wakeup not in ours:
        signal.set_wakeup_fd(wakeup)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if isinstance(handler, Contained):
            handler = handler.handler
            signal.signal(number, handler)
        if (getattr(handler, "__module__", None) or "").startswith(MACHINERY):
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)
