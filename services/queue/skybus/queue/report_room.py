"""Room in the stream of reports: those that were dealt with are kept for 30 days, as far as the stream has room.

A full stream refuses new reports, and they wait in the environment's spool. So the queue service forgets the older half
of what it has dealt with when more than half of the stream is in use.
"""

from __future__ import annotations

import time

import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from skybus.bus.connection import Bus
from skybus.bus.copies import Looks
from skybus.bus.direct_get import stored_message
from skybus.bus.provenance import stored_seq

log = structlog.get_logger()

EVERY = 2.0
"""Seconds between two looks at the stream."""


class ReportRoom:
    """Makes room in `LIFE_{inst}`.

    Args:
        durable: the consumer that says what was dealt with.
        max_bytes: of the stream.
    """

    def __init__(self, bus: Bus, durable: str, max_bytes: int) -> None:
        self._bus = bus
        self._durable = durable
        self._max_bytes = max_bytes
        self._stream = bus.subjects.life_stream
        self._whole = set[str]()
        """Tokens of reports in parts that were dealt with; the parts of others may still be needed."""
        self._next_look = 0.0

    def dealt_with(self, token: str) -> None:
        """Take note that the parts of a report are not needed any more."""
        if token:
            self._whole.add(token)

    async def make(self, jetstream: JetStreamContext) -> None:
        """Forget old reports, if there are too many and it is time to look."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + EVERY
        state = (await jetstream.stream_info(self._stream)).state
        if state.bytes <= self._max_bytes / 2:
            return
        reader = await jetstream.consumer_info(self._stream, self._durable)
        end = (reader.ack_floor.stream_seq if reader.ack_floor else 0) + 1
        end = min([end, *await self._first_parts(jetstream)])
        behind_oldest_half = state.first_seq + (end - state.first_seq + 1) // 2
        if end > state.first_seq:
            await jetstream.purge_stream(self._stream, seq=behind_oldest_half)
            log.info("old reports are forgotten, as the stream is more than half full", until=behind_oldest_half)

    async def _first_parts(self, jetstream: JetStreamContext) -> list[int]:
        """Where the parts begin of reports that have not come yet, or of which that is not known."""
        prefix = self._bus.subjects.life_part("")
        subjects = (await jetstream.stream_info(self._stream, subjects_filter=f"{prefix}>")).state.subjects or {}
        tokens = {subject.removeprefix(prefix) for subject in subjects}
        self._whole &= tokens
        found = [await part_of_report(self._bus, token) for token in tokens - self._whole]
        return [seq for message in found if message and (seq := stored_seq(message, self._stream))]


async def part_of_report(bus: Bus, token: str, seq: int = 1) -> Msg | None:
    """The first part of a report, from a sequence number on; nothing if it is not kept any more."""
    query = {"seq": seq, "next_by_subj": bus.subjects.life_part(token)}
    async for _ in Looks():
        if stored := await stored_message(bus, bus.subjects.life_stream, query):
            return stored
    return None
