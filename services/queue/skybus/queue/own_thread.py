"""Work on an event loop of its own, in a thread of its own: what keeps this event loop busy does not delay it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress


async def in_own_thread(work: Coroutine[None, None, None], name: str) -> None:
    """Run a coroutine in a new thread until it ends; a cancellation of the caller cancels it there.

    Raises:
        BaseException: what the coroutine raises.
    """
    here, there = asyncio.get_running_loop(), asyncio.new_event_loop()
    task = there.create_task(work)
    ended = asyncio.Event()

    def run() -> None:
        with suppress(BaseException):  # the caller reads it from the task
            there.run_until_complete(task)
        there.close()
        with suppress(RuntimeError):  # the caller's loop is closed
            here.call_soon_threadsafe(ended.set)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        await ended.wait()
    except asyncio.CancelledError:
        with suppress(RuntimeError):  # it has just ended
            there.call_soon_threadsafe(task.cancel)
        await ended.wait()
        thread.join()
        raise
    thread.join()
    task.result()
