"""Delivers messages to JetStream: each at least once, in order, under one message id, however long NATS is away.

A message is in the spool on disk before it is sent, and what is sent is read from there, so nothing waits in memory
unless the disk has no room (intake.py).
Up to a window of messages are under way. When the connection is lost or an answer does not come, sending starts again
behind the last acknowledged one, and JetStream drops by message id what it has already. It knows ids for a time only
(`streams.DUPLICATE_WINDOW`); after a longer loss the streams are asked for the ids that they have (stored_ids.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import nats.errors
import orjson
import structlog
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.bodies import LARGEST_DOCUMENT
from skybus.bus.connection import HEADER_ROOM, Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.packing import pack
from skybus.bus.parts import Part
from skybus.bus.streams import DUPLICATE_WINDOW, LIFE_MESSAGE
from skybus.worker.intake import Intake
from skybus.worker.spool import Position, Record, Spool
from skybus.worker.stored_ids import ids_since

log = structlog.get_logger()

WINDOW = 256
"""Messages under way to a server that is alone."""
WINDOW_OF_CLUSTER = 1
"""The same to a cluster: a stream may change its server at any time, and what is on its way then is lost, while what is
sent a moment later is stored. So the next message is sent when the one before is stored: otherwise order is lost."""
WINDOW_BYTES = 8 << 20
"""With so many bytes under way, no further message is sent."""
ANSWER_WAIT = 5.0
"""Seconds after which a message that nobody has acknowledged is sent again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds before sending again what JetStream could not take."""
GATHER = 0.02
"""Seconds that messages are left to gather: sending one by one takes time from the plan (one interpreter, one lock)."""
IDS_LAST = DUPLICATE_WINDOW / 2
"""Seconds in which JetStream knows for certain which ids it has."""
CLOCKS_DIFFER = 60.0
"""Seconds by which the clocks of two machines may differ."""
SYNC_AFTER = 0.05
"""Seconds that JetStream has to acknowledge a report before it is forced to the disk here."""
DISK_PAUSE = 1.0
"""Seconds before writing again what the disk could not take."""
PARTS_KEPT = 3600
"""Seconds that JetStream keeps the parts of a report; the queue service files a report as soon as it comes."""
_START = Position(0, 0)


@dataclass
class _Sent:
    """A message under way."""

    subject: str
    after: Position
    """The place in the spool behind it."""
    size: int
    is_stored: bool = False


@dataclass
class Outbox:
    """Delivers what is in a spool.

    Args:
        undelivered: the folder for bodies that no stream takes.
    """

    spool: Spool
    bus: Bus
    undelivered: Path
    _loop: asyncio.AbstractEventLoop | None = None
    _is_woken: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _all_delivered: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: count[int] = field(default_factory=count)
    _under_way: dict[int, _Sent] = field(default_factory=dict)
    _next: Position = _START
    _stored: set[str] = field(default_factory=set)
    """Ids of messages that were sent long ago and have arrived."""
    _beginnings: int = 0
    """How often sending has begun anew."""
    _is_taken: bool = False
    """Whether the stream has taken a message since sending has begun anew."""
    _pause: float = FIRST_PAUSE
    _paused: asyncio.TimerHandle | None = None
    _watch: asyncio.TimerHandle | None = None
    _retry: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._intake = Intake(self.spool)

    def put(self, subject: str, body: bytes, message_id: str, head: dict[str, str], *, durable: bool = False) -> None:
        """Take a message; may be called from any thread.

        A durable one is sent at once with all before it, and forced to the disk if JetStream does not have it soon.
        """
        record = Record(subject, {headers.MESSAGE_ID: message_id, **head}, body)
        after = self._intake.take(record, durable=durable)
        loop = self._loop
        if loop is None:
            return
        if after is None:
            loop.call_soon_threadsafe(self._write_later)
        elif durable:
            loop.call_soon_threadsafe(self._wake)
            loop.call_soon_threadsafe(loop.call_later, SYNC_AFTER, self._sync, after)
        elif not self._is_woken:
            self._is_woken = True
            loop.call_soon_threadsafe(loop.call_later, GATHER, self._wake)

    def file_of(self, message_id: str) -> Path:
        """Where the body of a message is kept that no stream takes."""
        name = "".join(char if char.isalnum() or char in "-_" else "_" for char in message_id)
        return self.undelivered / name[:200]

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._loop = asyncio.get_running_loop()
        if not self._intake.is_empty:
            self._write_later()
        self.bus.on_disconnect.append(self._changed.set)
        try:
            while True:
                await self.bus.wait_connected()
                await self._deliver()
        finally:
            self._loop = None
            if self._retry:
                self._retry.cancel()
                self._retry = None
            self.bus.on_disconnect.remove(self._changed.set)
            self._start_over()

    async def run_until_delivered(self) -> None:
        """Deliver what there is."""
        running = asyncio.ensure_future(self.run())
        delivered = asyncio.ensure_future(self.delivered())
        try:
            await asyncio.wait({running, delivered}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            running.cancel()
            delivered.cancel()
            await asyncio.wait({running, delivered})

    async def delivered(self) -> None:
        """Wait until JetStream has everything."""
        while not (self._intake.is_empty and self.spool.is_delivered):
            self._wake()
            self._all_delivered.clear()
            await self._all_delivered.wait()

    async def _deliver(self) -> None:
        """Send on the present connection until it is lost."""
        try:
            connection = self.bus.connection
            inbox = connection.new_inbox()
            subscription = await connection.subscribe(f"{inbox}.*", cb=self._on_answer)
            try:
                await self._send_on(connection, inbox)
            finally:
                if not connection.is_closed:
                    await subscription.unsubscribe()
        except (nats.errors.Error, OSError, UnavailableError) as error:
            log.debug("sending interrupted", error=str(error))
            await asyncio.sleep(FIRST_PAUSE)

    async def _send_on(self, connection: Connection, inbox: str) -> None:
        self._start_over()
        self._stored = await self._find_stored()
        while self.bus.is_connected and self.bus.connection is connection:
            self._changed.clear()
            if self._paused is None:
                await self._send(connection, inbox)
            await self._changed.wait()

    async def _send(self, connection: Connection, inbox: str) -> None:
        limit = connection.max_payload - HEADER_ROOM
        beginning = self._beginnings
        while self._beginnings == beginning and (room := self._room()):
            batch = self.spool.read(self._next, room)
            if not batch:
                return
            for record, after in batch:
                messages = await self._fit(record, limit)
                if self._beginnings != beginning:  # what came before this message is not under way any more
                    return
                for message in messages:
                    await self._send_one(connection, inbox, message, after if message is messages[-1] else self._next)
                    if self._beginnings != beginning:
                        return
                self._next = after

    async def _send_one(self, connection: Connection, inbox: str, message: Record, after: Position) -> None:
        number = next(self._numbers)
        is_stored = message.headers[headers.MESSAGE_ID] in self._stored
        self._under_way[number] = _Sent(message.subject, after, len(message.body), is_stored)
        if is_stored:
            self._advance()
            return
        self._start_watch()
        await connection.publish(
            message.subject, message.body, reply=f"{inbox}.{number}", headers=dict(message.headers)
        )

    async def _find_stored(self) -> set[str]:
        """Ids of messages that may have been under way when the connection was lost, and are stored."""
        since = self.spool.delivered_at
        if self.spool.is_delivered or time.time() - since < IDS_LAST:
            return set()
        stored = set[str]()
        for subject in {record.subject for record in self._may_be_stored()}:
            stored |= await ids_since(self.bus, subject, since - CLOCKS_DIFFER)
        return stored

    def _may_be_stored(self) -> list[Record]:
        found: list[Record] = []
        at = self._next
        while len(found) < WINDOW and (batch := self.spool.read(at, WINDOW - len(found))):
            found += [record for record, _ in batch]
            at = batch[-1][1]
        return found

    def _room(self) -> int:
        """So many more messages may be sent; one alone until it is known that the stream takes them."""
        if sum(sent.size for sent in self._under_way.values()) > WINDOW_BYTES:
            return 0
        most = WINDOW if self.bus.replicas == 1 else WINDOW_OF_CLUSTER
        return (most if self._is_taken else 1) - len(self._under_way)

    async def _on_answer(self, message: Msg) -> None:
        number = int(message.subject.rpartition(".")[2])
        sent = self._under_way.get(number)
        if sent is None:
            return
        problem = _problem(message)
        if problem is None:
            self._pause = FIRST_PAUSE
            self._is_taken = True
        elif problem.is_lasting:
            log.error("a stream refuses a message", subject=sent.subject, reason=problem.text)
            self._keep(sent)
        else:
            self._send_later(problem.text)
            return
        sent.is_stored = True
        self._advance()

    def _advance(self) -> None:
        """Go on behind the messages that are stored without a gap."""
        position = None
        for number, sent in list(self._under_way.items()):
            if not sent.is_stored:
                break
            position = sent.after
            del self._under_way[number]
        if position is None:
            return
        self.spool.set_delivered(position)
        self._changed.set()
        if self.spool.is_delivered:
            self._all_delivered.set()

    def _start_over(self) -> None:
        self._beginnings += 1
        self._under_way.clear()
        self._is_taken = False
        self._next = self.spool.delivered
        for timer in (self._paused, self._watch):
            if timer:
                timer.cancel()
        self._paused = self._watch = None

    def _send_later(self, reason: str) -> None:
        """Pause, then send again from the first message that is not stored."""
        assert self._loop
        log.warning("JetStream does not take messages; they wait on disk", reason=reason)
        self._start_over()
        self._paused = self._loop.call_later(self._pause, self._end_pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _end_pause(self) -> None:
        self._paused = None
        self._changed.set()

    def _start_watch(self) -> None:
        if self._watch is None and self._loop:
            self._watch = self._loop.call_later(ANSWER_WAIT, self._check_answers, next(iter(self._under_way)))

    def _check_answers(self, oldest: int) -> None:
        self._watch = None
        if oldest in self._under_way:
            self._send_later(f"no answer within {ANSWER_WAIT:g} s")
        elif self._under_way:
            self._start_watch()

    def _wake(self) -> None:
        self._is_woken = False
        self._changed.set()

    def _write_later(self) -> None:
        if self._retry is None and self._loop:
            self._retry = self._loop.call_later(DISK_PAUSE, self._write_again)

    def _write_again(self) -> None:
        self._retry = None
        if not self._intake.write_waiting():
            self._write_later()
        self._wake()  # what is delivered makes room
        self._sync(self.spool.end)

    def _sync(self, after: Position) -> None:
        if self._loop and self.spool.delivered < after:
            self._loop.run_in_executor(None, self.spool.sync, after.segment)

    async def _fit(self, record: Record, limit: int) -> list[Record]:
        """Make messages of a record as small as the bus demands: compressed, in parts, or naming a file."""
        is_report = record.subject.startswith(self.bus.subjects.life(""))
        limit = min(limit, LIFE_MESSAGE - HEADER_ROOM) if is_report else limit
        if len(record.body) <= limit:
            return [record]
        packed = await asyncio.to_thread(pack, record.body)
        if len(packed) <= limit and (is_report or len(record.body) <= LARGEST_DOCUMENT):
            return [Record(record.subject, {**record.headers, headers.ENCODING: "zlib"}, packed)]
        if is_report:
            return self._in_parts(record, packed, limit)
        path = self._write_undelivered(record)
        log.error("a message is too large for the bus", subject=record.subject, file=str(path), bytes=len(record.body))
        stub = orjson.dumps({"file": str(path), "bytes": len(record.body)})
        return [Record(record.subject, {**record.headers, headers.ENCODING: "stub"}, stub)]

    def _in_parts(self, record: Record, packed: bytes, limit: int) -> list[Record]:
        """Cut up a report. Its own message has the last part; those before it are kept for a shorter time."""
        message_id = record.headers[headers.MESSAGE_ID]
        token = hashlib.sha256(message_id.encode()).hexdigest()[:32]
        *offsets, last = range(0, len(packed), limit)
        messages = [
            Record(
                self.bus.subjects.life_part(token),
                {
                    headers.MESSAGE_ID: f"{message_id}:part:{offset}",
                    headers.PART: Part(offset, len(packed), len(record.body)).header(),
                    headers.TTL: str(PARTS_KEPT),
                },
                packed[offset : offset + limit],
            )
            for offset in offsets
        ]
        head = {headers.PART: Part(last, len(packed), len(record.body)).header(), headers.MORE: token}
        return [*messages, Record(record.subject, {**record.headers, **head}, packed[last:])]

    def _keep(self, sent: _Sent) -> None:
        """Save a message that its stream will never take."""
        for record, after in self.spool.read(self.spool.delivered, WINDOW):
            if after == sent.after:
                self._write_undelivered(record)

    def _write_undelivered(self, record: Record) -> Path:
        self.undelivered.mkdir(parents=True, exist_ok=True)
        path = self.file_of(record.headers[headers.MESSAGE_ID])
        path.write_bytes(record.body)
        return path


@dataclass(frozen=True)
class _Problem:
    text: str
    is_lasting: bool


def _problem(message: Msg) -> _Problem | None:
    """Tell why JetStream has not stored a message; nothing if it has."""
    head = message.headers or {}
    if "Status" in head:
        return _Problem("there is no such stream yet", is_lasting=False)
    if b'"error"' not in message.data:
        return None
    error = orjson.loads(message.data).get("error", {})
    return _Problem(str(error.get("description")), is_lasting=400 <= int(error.get("code", 503)) < 500)
