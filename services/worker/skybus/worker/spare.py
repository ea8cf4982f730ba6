"""A process with Bluesky imported, waiting to become an environment."""

from __future__ import annotations

from pathlib import Path
from subprocess import PIPE, Popen

import structlog

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
    """

    def __init__(self, python: Path | None = None, *, kernel: bool = False) -> None:
        self._command = [*environment_command(python), *([WITH_KERNEL] if kernel else [])]
        self._spare: Popen[bytes] | None = None

    def keep_one(self) -> None:
        """Start a spare if there is none."""
        if self._spare is None or self._spare.poll() is not None:
            self._spare = _start(self._command)

    def take(self) -> Popen[bytes]:
        """Take the spare, or start a process if there is none."""
        self.keep_one()
        taken, self._spare = self._spare, None
        assert taken is not None
        return taken

    def end(self) -> None:
        """End the spare."""
        if self._spare and self._spare.stdin:
            self._spare.stdin.close()
            self._spare.terminate()
            self._spare.wait()
        self._spare = None


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
    process = Popen(command, stdin=PIPE, start_new_session=True)
    log.debug("spare process started", pid=process.pid)
    return process
