"""The life of a service process."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.runtime import Process
from skybus.bus.subjects import Subjects
from tests.promises import PATIENCE


async def deaf() -> None:
    """Lose the first cancellation, as nats-py does on Python 3.11 when what it waits for comes at the same moment."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


async def dies() -> None:
    raise UnavailableError("it has died")


async def serve() -> None:
    async with asyncio.TaskGroup() as group:
        process = Process("test", Bus("test", Subjects("test"), lambda: pytest.fail("nobody connects")), group)
        process.start(deaf(), "deaf")
        await asyncio.sleep(0)  # it waits
        process.start(dies(), "dies")
        await process.stop.wait()


async def test_a_side_task_that_dies_takes_the_service_down_also_when_another_does_not_hear_it() -> None:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ExceptionGroup) as caught:
            await serve()
    assert [str(error) for error in caught.value.exceptions] == ["it has died"]
