"""The end of a process that has run startup code: exit handlers get their time, threads that go on do not keep it."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from skybus.worker.environment.output import say
from skybus.worker.environment.own_process import in_this_process

EXIT_HANDLERS = 1.0
"""Seconds that the exit handlers of user code have."""
POOLS = 0.5
"""Seconds of these that the pools of `concurrent.futures` have to end their workers."""

LAST_WORDS = 0.1
"""Seconds that the last line has: nobody may read the console any more."""


def run_exit_handlers(code: int) -> None:
    """Run the exit handlers; the process ends with `code` if that takes too long."""
    _thread(lambda: _cut_later(code if code >= 0 else 128 - code))
    _end_pools()
    with suppress(BaseException), in_this_process():
        atexit._run_exitfuncs()


def cut(code: int) -> NoReturn:
    """End the process at once although exit handlers run or wait, and the processes that Python would wait for."""
    with suppress(BaseException):
        children = multiprocessing.active_children()
        ended = f", and so are its child processes {[child.pid for child in children]}" if children else ""
        text = f"Exit handlers have not returned within {EXIT_HANDLERS:g} s: the process is ended without them{ended}"
        _thread(lambda: say(text)).join(LAST_WORDS)
        for child in children:
            child.terminate()
    os._exit(code)


def _cut_later(code: int) -> None:
    threading.Event().wait(EXIT_HANDLERS)
    cut(code)


def _end_pools() -> None:
    """Do what Python does before it waits for threads; a pool that is busy must not keep the others."""
    ending = [_thread(call) for call in reversed(getattr(threading, "_threading_atexits", ()))]
    waiting = _thread(lambda: [thread.join() for thread in ending])
    waiting.join(POOLS)


def _thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
