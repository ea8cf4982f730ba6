"""A process with Bluesky imported, waiting to become an environment."""

from __future__ import annotations

import asyncio
import contextvars
import os
from pathlib import Path
from subprocess import PIPE, Popen

import structlog

from skybus.bus.notify import FOR_US_ALONE
from skybus.worker.interpreter import environment_command
from skybus.worker.order import Order

log = structlog.get_logger()

WITH_KERNEL = "--with-kernel"
"""An argument of `skybus-environment`."""


class Spares:
    """Keeps at most one spare process, which ends by itself when we end.

    Args:
        python: the interpreter; by default ours.
        kernel: an IPython kernel will be needed; it takes as long to import as all the rest.
        is_wanted: whether to keep one at all.
    """

    def __init__(self, python: Path | None, *, kernel: bool, is_wanted: bool) -> None:
        self._command = [*environment_command(python), *([WITH_KERNEL] if kernel else [])]
        self._is_wanted = is_wanted
        self._spare: Popen[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._context = contextvars.copy_context()

    def keep_after(self, seconds: float) -> None:
        """Have a spare in some seconds, whatever was wished before."""
        if self._timer:
            self._timer.cancel()
        if self._is_wanted:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._keep, context=self._context)

    def take(self) -> Popen[bytes]:
        """Take the spare, or start a process if there is none."""
        taken, self._spare = self._living() or _start(self._command), None
        return taken

    def end(self) -> None:
        """End the spare, and have no further one."""
        self._is_wanted = False
        if self._timer:
            self._timer.cancel()
        if self._spare and self._spare.stdin:
            self._spare.stdin.close()
            self._spare.terminate()
            self._spare.wait()
        self._spare = None

    def _living(self) -> Popen[bytes] | None:
        return self._spare if self._spare and self._spare.poll() is None else None

    def _keep(self) -> None:
        try:
            self._spare = self._living() or _start(self._command)
        except OSError as error:  # an opening will say it to who asks for one
            log.warning("a spare process cannot be started", reason=str(error))


def give_order(process: Popen[bytes], order: Order) -> bool:
    """Make a spare become an environment; tell whether it was there to hear."""
    assert process.stdin
    try:
        with process.stdin as stdin:
            stdin.write(order.model_dump_json().encode() + b"\n")
    except OSError:
        return False
    return True


def _start(command: list[str]) -> Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in FOR_US_ALONE}
    process = Popen(command, stdin=PIPE, start_new_session=True, env=environment)
    log.debug("spare process started", pid=process.pid)
    return process
