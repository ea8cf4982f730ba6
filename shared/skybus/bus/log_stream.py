"""The log lines of a process in the console stream."""

from __future__ import annotations

import asyncio
import uuid

import nats.errors

from skybus.bus import headers
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError
from skybus.bus.logs import lines

GATHER = 0.05
"""Seconds that lines are left to gather: a burst of them is one message."""


async def publish_lines(bus: Bus, service: str) -> None:
    """Put the log lines of this process into the console stream, until cancelled."""
    with lines.listening() as added:
        while True:
            await added.wait()
            await asyncio.sleep(GATHER)
            added.clear()
            await bus.wait_connected()
            taken = list(lines.waiting)
            if taken and await _publish(bus, service, taken[0][0], "".join(line for _, line in taken)):
                for _ in taken:
                    lines.waiting.popleft()


async def _publish(bus: Bus, service: str, written: float, text: str) -> bool:
    head = {headers.TIME: f"{written:.6f}", headers.MESSAGE_ID: uuid.uuid4().hex}
    try:
        await bus.jetstream.publish(bus.subjects.console(service), text.encode(), headers=head)
    except (SkybusError, nats.errors.Error, OSError, TimeoutError):
        return False  # the next line tries again
    return True
