"""The log lines of a process in the console stream."""

from __future__ import annotations

import asyncio

import nats.errors

from skybus.bus import headers
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError
from skybus.bus.logs import Batch, lines

GATHER = 0.05
"""Seconds that lines are left to gather: a burst of them is one message."""


async def publish_lines(bus: Bus, service: str) -> None:
    """Put the log lines of this process into the console stream, until cancelled."""
    batch: Batch | None = None
    with lines.listening() as added:
        while True:
            await added.wait()
            await asyncio.sleep(GATHER)
            added.clear()
            await bus.wait_connected()
            while (batch := batch or lines.take()) and await _publish(bus, service, batch):
                batch = None
            if batch is None:
                lines.published()


async def _publish(bus: Bus, service: str, batch: Batch) -> bool:
    head = {headers.TIME: f"{batch.time:.6f}", headers.MESSAGE_ID: batch.uid}
    body = batch.text.encode("utf-8", "backslashreplace")  # a traceback may name a file whose name is no UTF-8
    try:
        await bus.jetstream.publish(bus.subjects.console(service), body, headers=head)
    except (SkybusError, nats.errors.Error, OSError, TimeoutError):
        return False  # the next line tries again
    return True
