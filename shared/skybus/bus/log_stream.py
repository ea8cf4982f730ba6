"""The log lines of a process in the console stream."""

from __future__ import annotations

import uuid

import nats.errors

from skybus.bus import headers
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError
from skybus.bus.logs import lines


async def publish_lines(bus: Bus, service: str) -> None:
    """Put the log lines of this process into the console stream, until cancelled."""
    with lines.listening() as added:
        while True:
            await added.wait()
            added.clear()
            await bus.wait_connected()
            while lines.waiting:
                if not await _publish(bus, service, *lines.waiting[0]):
                    break
                lines.waiting.popleft()


async def _publish(bus: Bus, service: str, written: float, line: str) -> bool:
    head = {headers.TIME: f"{written:.6f}", headers.MESSAGE_ID: uuid.uuid4().hex}
    try:
        await bus.jetstream.publish(bus.subjects.console(service), line.encode(), headers=head)
    except (SkybusError, nats.errors.Error, OSError, TimeoutError):
        return False  # the next line tries again
    return True
