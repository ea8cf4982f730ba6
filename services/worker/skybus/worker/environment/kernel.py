"""An IPython kernel that has the main thread: it runs cells of consoles, and our own work in between.

While our work has the thread, cells wait, and clients see a kernel that is busy.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from skybus.bus.errors import why
from skybus.worker.environment.kernel_connection import connection_info, listen_as_told
from skybus.worker.environment.registry import REGISTRY
from skybus.worker.environment.signals import ignore_interrupt
from skybus.worker.environment.startup import StartupError
from skybus.worker.environment.user_namespace import USER_NAMESPACE
from skybus.worker.kernel_options import KernelOptions
from skybus.worker.order import Order
from skybus.worker.profiles import profile_of

Work = Callable[[], int | None]
"""Works until it is told to stop; returns an exit code if the process is to end."""


class Watcher(Protocol):
    """Who is told what becomes of the main thread; called there."""

    def cells_changed(self, running: int) -> None:
        """So many cells run or wait for something."""

    def kernel_taken(self) -> None:
        """Our work has the main thread."""

    def kernel_refused(self) -> None:
        """A cell has it."""

    def kernel_given_back(self) -> None:
        """Cells may run again."""


class Grab:
    """One try to get the main thread. Either the thread takes it, or who asked gives up: who decides first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_decided = False

    def decide(self) -> bool:
        """Tell whether it was still open."""
        with self._lock:
            was_open, self._is_decided = not self._is_decided, True
            return was_open


class Kernel:
    """The kernel of an environment.

    Args:
        work: is done in the main thread when that was grabbed.
    """

    def __init__(self, options: KernelOptions, work: Work, watcher: Watcher) -> None:
        self._options = options
        self._work = work
        self._watcher = watcher
        self._cells = 0
        self._exit_code: int | None = None
        self._fault: BaseException | None = None
        self._app: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.connection_info: dict[str, Any] = {}

    # What follows is done in the main thread.

    @property
    def ports(self) -> set[int]:
        """Where clients and forked children connect."""
        if self._app is None:
            return set()
        named = {port for name, port in connection_info(self._app).items() if name.endswith("_port")}
        return named | {getattr(self._app.iopub_thread, "_pipe_port", 0)}

    def load(self, order: Order, namespace: dict[str, Any]) -> None:
        """Make the kernel, and run the startup code in it.

        Raises:
            StartupError: something of that has failed.
        """
        try:
            from skybus.worker.environment import kernel_app
        except ImportError as error:
            raise StartupError(f"The IPython kernel is not installed (pip install skybus[ipython]): {error}") from error
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # or its debugger complains on stderr
        REGISTRY.clear()
        USER_NAMESPACE.set_user_namespace(user_ns=namespace, use_ipython=True)
        self._app = app = kernel_app.make_app(namespace)
        app.on_cell = self._on_cell
        app.keeps_connection_file = bool(self._options.connection_file)
        self._choose_startup(order)
        try:
            listen_as_told(app, self._options)
            app.initialize([])
        except kernel_app.StartupCodeError as error:
            raise StartupError(f"Error while executing startup code: {error}", error.traceback) from error
        except BaseException as error:  # SystemExit among them: that is how the application gives up
            raise StartupError(f"The IPython kernel cannot be started: {why(error)}") from error
        self.connection_info = connection_info(app)
        self._loop = kernel_app.main_loop()
        self._context = contextvars.copy_context()

    def run(self) -> int | None:
        """Run cells and our work; return the exit code, or nothing if a client has shut the kernel down.

        Raises:
            BaseException: what our work has raised.
        """
        assert self._loop
        self._app.kernel.start()
        while self._exit_code is None and self._fault is None and not self._app.has_been_left:
            with suppress(KeyboardInterrupt):  # a late one must not end the environment
                self._loop.run_forever()
        if self._fault:
            raise self._fault
        return self._exit_code

    def _on_cell(self, change: int) -> None:
        self._cells += change
        self._watcher.cells_changed(self._cells)

    def _do_work(self, grab: Grab) -> None:
        if self._cells:
            if grab.decide():
                self._watcher.kernel_refused()
            return
        if self._exit_code is not None or not grab.decide():
            return
        self._app.begin_work()
        self._watcher.kernel_taken()
        try:
            self._exit_code = self._work()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the loop would log it and go on
            self._fault = error
        finally:
            self._app.end_work()
            self._watcher.kernel_given_back()
        if (self._exit_code is not None or self._fault) and self._loop:
            self._loop.stop()

    def _choose_startup(self, order: Order) -> None:
        app, options = self._app, self._options
        if options.ipython_dir:
            app.ipython_dir = str(options.ipython_dir)
        if options.profile:
            app.profile = options.profile
        app.matplotlib = options.matplotlib or "agg"
        if order.startup_dir and profile_of(order.startup_dir) is None:
            app.startup_folder = _existing(order.startup_dir)
        elif order.startup_dir and options.profile:
            _existing(order.startup_dir.parent)
        if order.startup_script:
            app.file_to_run = _existing(order.startup_script)
        if order.startup_module:
            app.module_to_run = order.startup_module

    # What follows may be called in any thread.

    def grab(self) -> Grab:
        """Have our work done as soon as no cell runs; the watcher is told whether it is."""
        grab = Grab()
        assert self._loop
        self._loop.call_soon_threadsafe(self._do_work, grab, context=self._context)
        return grab

    def nudge(self) -> None:
        """See to an order to leave, when the main thread is not ours."""
        if self._loop:
            self.grab()

    def wake(self) -> None:
        """Have a cell that awaits something take note of an interrupt: the kernel forgets to wake its own loop."""
        if self._loop:
            self._loop.call_soon_threadsafe(_nothing)


def interrupt_main_thread() -> None:
    """Send Ctrl-C to what runs there, if it listens."""
    ident = threading.main_thread().ident
    assert ident
    signal.pthread_kill(ident, signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach user code in the main thread; a RunEngine takes it for a wish to pause.

    A handler that user code sets stays.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not ignore_interrupt:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def _nothing() -> None:
    pass


def _existing(path: Path) -> str:
    if not path.exists():
        raise StartupError(f"The startup code is not there: {path}")
    return str(path)
