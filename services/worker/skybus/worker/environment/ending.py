"""The end of a process that has run startup code: exit handlers get their time, threads that go on do not keep it."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress

from skybus.worker.environment.own_process import in_this_process

EXIT_HANDLERS = 1.0
"""Seconds that the exit handlers of user code have."""


def run_exit_handlers(code: int) -> None:
    """Run the exit handlers; the process ends with `code` if that takes too long."""
    threading.Thread(target=_exit_later, args=(code,), daemon=True).start()
    with suppress(BaseException), in_this_process():
        atexit._run_exitfuncs()


def _exit_later(code: int) -> None:
    threading.Event().wait(EXIT_HANDLERS)
    os._exit(code if code >= 0 else 128 - code)
