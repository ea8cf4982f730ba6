"""The IPython kernel of an environment. Imported only where environments run in one: IPython takes long to import."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import structlog
from ipykernel.displayhook import ZMQShellDisplayHook
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.error import UsageError
from IPython.core.profiledir import ProfileDir
from IPython.utils.syspathcontext import prepended_to_syspath
from jupyter_client.session import Session
from tornado.ioloop import IOLoop
from tornado.platform.asyncio import AsyncIOLoop
from traitlets import Any as AnyTrait
from traitlets import Bool, Type, Unicode, default

from skybus.bus.tracebacks import format_error, text_of, traceback_of
from skybus.worker.environment.output import say
from skybus.worker.environment.own_file import OwnFile, compile_file
from skybus.worker.environment.own_process import in_this_process
from skybus.worker.environment.signals import ignore_interrupt, user_code_runs
from skybus.worker.environment.startup_module import run_module

log = structlog.get_logger()

ANSI = re.compile(r"\x1B(?:[@-Z\\-_]|\[[0-?]*[ -/]*[@-~])")
"""Colours of a terminal."""

NOT_LOUDER = logging.CRITICAL
"""What the kernel says of itself at its start (how to leave it, that it does not encrypt) is not for our users."""


@dataclass(frozen=True)
class Failure:
    """Something that was raised, and its traceback without colours."""

    error: BaseException
    traceback: str


class StartupCodeError(Exception):
    """IPython goes on after a failure in startup code; an environment must not."""

    def __init__(self, failures: list[Failure]) -> None:
        error = failures[0].error
        super().__init__(text_of(error) or type(error).__name__)
        self.traceback = "\n".join(failure.traceback for failure in failures)


class EchoingDisplayHook(ZMQShellDisplayHook):
    """Shows the value of a cell in the console of the environment too."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        """Keep the value for clients, and print it."""
        super().write_format_data(format_dict, md_dict)
        say(f">> {format_dict.get('text/plain', '')}")


class EmbeddedShell(ZMQInteractiveShell):
    """Shows tracebacks in the console of the environment too, and keeps those of the startup code."""

    displayhook_class = Type(EchoingDisplayHook)
    failures: list[Failure] | None = AnyTrait()  # pyright: ignore[reportAssignmentType]
    """What has failed, as long as somebody wants to know it."""
    _has_shown = False
    """Whether the last error was shown."""

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        """Show an error; also one that IPython gives up on, whose startup code has failed nonetheless."""
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        self._has_shown = False
        try:
            super().showtraceback(exc_tuple, *args, **options)
        except Exception as failure:  # the error cannot be formatted
            log.info("IPython cannot show an error", kind=type(error).__name__, reason=text_of(failure))
        if not self._has_shown and error is not None and not isinstance(error, UsageError):
            lines = format_error(error, traceback_of(error)).splitlines()
            self._showtraceback(type(error), error, lines)

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        self._has_shown = True
        text = ANSI.sub("", "\n".join(stb))
        if self.failures is not None:
            self.failures.append(Failure(evalue, text))
        say(f"Traceback: {text}")
        with suppress(Exception):  # user code may have closed the streams that it flushes
            super()._showtraceback(etype, text_of(evalue), stb)

    def safe_execfile(self, fname: Any, *where: Any, raise_exceptions: bool = False, **options: Any) -> None:
        """Run a file; one of the startup code knows its own `__file__` later, too."""
        if not raise_exceptions:
            super().safe_execfile(fname, *where, **options)
            return
        path = Path(fname).expanduser().resolve()
        with prepended_to_syspath(str(path.parent)), self.builtin_trap, _leaving_quietly(), in_this_process():
            exec(compile_file(ast.parse(path.read_bytes(), str(path)), path, str(fname)), *where)  # noqa: S102

    def safe_execfile_ipy(self, fname: Any, **options: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Likewise for a file in IPython's own language."""
        own_file = OwnFile(str(fname))
        self.ast_transformers.append(own_file)
        try:
            with in_this_process():
                super().safe_execfile_ipy(fname, **options)
        finally:
            with suppress(ValueError):  # IPython drops one that has failed
                self.ast_transformers.remove(own_file)

    def safe_run_module(self, mod_name: str, where: dict[str, Any]) -> None:
        """Run a module in the namespace itself: `runpy` would make it `__main__`, which children run again."""
        try:
            with _leaving_quietly(), in_this_process():
                run_module(mod_name, where)
        except BaseException:  # as IPython has it
            self.showtraceback()


class EmbeddedKernel(IPythonKernel):
    """Says when cells run in the main thread."""

    shell_class = Type(EmbeddedShell)

    @default("user_module")
    def _find_user_module(self) -> Any:
        return sys.modules["__main__"]

    async def do_execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run a cell."""
        if threading.current_thread() is not threading.main_thread():  # a subshell: the main thread stays free
            return await super().do_execute(*args, **kwargs)
        app = cast("EmbeddedKernelApp", self.parent)
        app.on_cell(+1)
        try:
            with user_code_runs(), in_this_process():
                return await super().do_execute(*args, **kwargs)
        finally:
            app.on_cell(-1)


class EmbeddedKernelApp(IPKernelApp):
    """An IPython kernel whose output stays in the descriptors of the process."""

    kernel_class = Type(EmbeddedKernel, klass="ipykernel.kernelbase.Kernel")
    startup_folder = Unicode()
    """Whose files are run, instead of those in the startup folder of the profile."""
    keeps_connection_file = Bool(False)
    on_cell: Callable[[int], None] = AnyTrait(lambda _change: None)  # pyright: ignore[reportAssignmentType]
    """Told of one cell more or less."""

    def init_signal(self) -> None:
        """Survive Ctrl-C between cells, but do not ignore it: programs that user code starts would, too."""
        signal.signal(signal.SIGINT, ignore_interrupt)

    def init_code(self) -> None:
        """Run the startup code.

        Raises:
            StartupCodeError: it has failed.
        """
        shell = cast("EmbeddedShell", self.shell)
        if self.startup_folder:
            cast("ProfileDir", self.profile_dir).startup_dir = self.startup_folder
        failures = shell.failures = []
        try:
            super().init_code()
        finally:
            shell.failures = None
        if failures:
            raise StartupCodeError(failures)

    @property
    def has_been_left(self) -> bool:
        """Whether a client has shut the kernel down."""
        return bool(self.shell and self.shell.exit_now)

    def begin_work(self) -> None:
        """Show clients a kernel that is busy with somebody else's request, to which all output belongs."""
        request = Session(key=self.session.key).msg("execute_request", {"code": "", "silent": True})
        self.kernel.set_parent([b""], request)
        self.kernel._publish_status("busy", "shell")

    def end_work(self) -> None:
        """Show clients an idle kernel, after all that was printed."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # user code may have closed or replaced it
                stream.flush()
        self.kernel._publish_status("idle", "shell")

    def cleanup_connection_file(self) -> None:
        """Remove the connection file, unless the next kernel is to be reached in the same way."""
        if self.keeps_connection_file:
            self.cleanup_ipc_files()
        else:
            super().cleanup_connection_file()


@contextmanager
def _leaving_quietly() -> Iterator[None]:
    """End a file or module that calls `exit()` there, as IPython does."""
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise


def make_app(user_ns: dict[str, Any]) -> EmbeddedKernelApp:
    """Make the one kernel of this process, not yet started."""
    app = EmbeddedKernelApp.instance(user_ns=user_ns)
    app.log_level = NOT_LOUDER
    app.capture_fd_output = False  # the descriptors are captured already
    app.quiet = False  # what Python prints goes to the descriptors as well as to clients
    app.parent_handle = 0  # whoever has started us may end
    return app


def main_loop() -> asyncio.AbstractEventLoop:
    """The event loop of this thread, where the kernel runs cells."""
    return cast(AsyncIOLoop, IOLoop.current()).asyncio_loop
