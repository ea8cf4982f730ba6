"""Reads the reports of the worker and its environment, in order; one is acknowledged when it has been dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from pydantic import Field, TypeAdapter, ValidationError

from skybus.bus import headers, room
from skybus.bus.api.internal import LifeReport
from skybus.bus.bodies import body_of, is_packed, is_stub
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, NotFoundError, SkybusError, UnavailableError, why
from skybus.bus.parts import Parcel, Part, announced
from skybus.bus.provenance import stored_seq
from skybus.bus.streams import ensure_stream, life_stream
from skybus.queue.pull import pulling
from skybus.queue.report_room import ReportRoom, part_of_report

log = structlog.get_logger()

DURABLE = "queue"
PATIENCE = 2.0
"""Seconds that one request for the next report stays open; it is not answered if the server that has it dies."""
PAGE = 500
"""Reports read at once when they are read again."""
ACK_WAIT = 1.0
"""Seconds until a report comes again that a queue service has taken with it when it died.

One that is only slow gets the report twice, which does no harm: an attempt is filed once.
"""
_ROOM = 4 << 20
"""Bytes of a report besides the value of a task or plan."""
_REPORT: TypeAdapter[LifeReport] = TypeAdapter(Annotated[LifeReport, Field(discriminator="kind")])


class Reports:
    """The durable consumer of `LIFE_{inst}`.

    Args:
        handle: deals with one report; when it raises UnavailableError the report comes again.
        max_bytes: of the stream.
    """

    def __init__(self, bus: Bus, handle: Callable[[LifeReport], Awaitable[None]], max_bytes: int = room.LIFE) -> None:
        self._bus = bus
        self._handle = handle
        self._max_bytes = max_bytes
        self._room = ReportRoom(bus, DURABLE, max_bytes)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._bus.wait_connected()
            try:
                await self._read(self._bus.jetstream)
            except (nats.errors.Error, UnavailableError, OSError) as error:
                log.warning("reading reports was interrupted", error=why(error))
                await asyncio.sleep(0.1)

    async def is_drained(self) -> bool:
        """Whether every stored report has been dealt with."""
        stream = (await self._bus.jetstream.stream_info(self._bus.subjects.life_stream)).state
        reader = await self._bus.jetstream.consumer_info(self._bus.subjects.life_stream, DURABLE)
        is_behind = stream.messages and reader.delivered and reader.delivered.stream_seq < stream.last_seq
        return not (is_behind or reader.num_pending or reader.num_ack_pending)

    async def since(self, begin: float) -> list[LifeReport]:
        """Read all reports from a time on, unix seconds, once more.

        Raises:
            UnavailableError: they cannot be read.
        """
        try:
            return await self._bus.while_connected(self._since(self._bus.jetstream, begin))
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(f"reports cannot be read: {why(error)}") from error

    async def _since(self, jetstream: JetStreamContext, begin: float) -> list[LifeReport]:
        stream, found = self._bus.subjects.life_stream, list[LifeReport]()
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=datetime.fromtimestamp(begin, UTC),
        )
        consumer = await jetstream.add_consumer(stream, config)
        left = consumer.num_pending or 0
        async with pulling(self._bus.connection, stream, consumer.name) as pull:
            while left > 0:
                messages = await pull.fetch(min(PAGE, left), PATIENCE)
                if not messages:
                    raise UnavailableError("no more reports come")
                left -= len(messages)
                found += [report for message in messages for report in await self._parsed(message)]
        return found

    async def _read(self, jetstream: JetStreamContext) -> None:
        stream = self._bus.subjects.life_stream
        await ensure_stream(jetstream, life_stream(self._bus.subjects, self._max_bytes), self._bus.replicas)
        config = ConsumerConfig(
            durable_name=DURABLE, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=1, ack_wait=ACK_WAIT
        )
        await jetstream.add_consumer(stream, config)
        async with pulling(self._bus.connection, stream, DURABLE) as pull:
            while self._bus.is_connected:
                await self._room.make(jetstream)
                for message in await self._bus.while_connected(pull.fetch(1, PATIENCE)):
                    await self._deal_with(message)

    async def _deal_with(self, message: Msg) -> None:
        try:
            for report in await self._parsed(message):
                await self._handle(report)
        except SkybusError as error:
            log.warning("a report must wait", subject=message.subject, reason=error.message)
            await message.nak(delay=0.5)
        else:
            await message.ack()
            self._room.dealt_with((message.headers or {}).get(headers.MORE, ""))

    async def _parsed(self, message: Msg) -> list[LifeReport]:
        """The report in a message, or none if there is none in it or it cannot be read."""
        if message.subject.startswith(self._bus.subjects.life_part("")):
            return []  # the report itself, which follows, brings the last part
        if is_stub(message):
            named = message.data.decode("utf-8", "replace")
            log.error("a report is too large for the bus; it is put aside", subject=message.subject, report_is_in=named)
            return []
        try:
            return [_REPORT.validate_json(await self._body(message))]
        except (ValidationError, InvalidError, NotFoundError) as error:
            log.error("a report cannot be read; it is put aside", subject=message.subject, reason=why(error))
            return []

    @property
    def _largest(self) -> int:
        """Bytes of a report: what it brings back has a bound in the environment, and the rest has room."""
        return self._bus.max_request + _ROOM

    async def _body(self, message: Msg) -> bytes:
        part = announced(message.headers or {})
        if part:
            return await self._joined(message, part)
        return await asyncio.to_thread(body_of, message, self._largest) if is_packed(message) else message.data

    async def _joined(self, message: Msg, last: Part) -> bytes:
        """Read the parts before the last one, which stand in the stream below the token of the report.

        Raises:
            NotFoundError: they are not kept any more.
        """
        parcel = Parcel("a report", last._replace(offset=0), self._largest)
        token, seq = (message.headers or {}).get(headers.MORE, ""), 1
        while parcel.received < last.offset:
            stored = await self._part(token, seq)
            seq = (stored_seq(stored, self._bus.subjects.life_stream) or seq) + 1
            part = announced(stored.headers or {})
            if part and part.offset == parcel.received:  # one that came twice is older than the duplicate window
                parcel.add(part, stored.data)
        parcel.add(last, message.data)
        return await asyncio.to_thread(parcel.unpacked)

    async def _part(self, token: str, seq: int) -> Msg:
        if stored := await part_of_report(self._bus, token, seq):
            return stored
        raise NotFoundError("parts of a report are not kept any more")
