"""Bodies larger than a message: compressed into the object store, read chunk by chunk by direct get.

A client has no consumer rights, so it reads the chunks of the object (subject `$O.{bucket}.C.{nuid}`, NATS ADR-20) with
`$JS.API.DIRECT.GET` (ADR-31).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError
from nats.js.errors import NotFoundError as NoSuchStreamError

from skybus.bus import room
from skybus.bus.copies import Looks
from skybus.bus.direct_get import stored_message
from skybus.bus.errors import SkybusError, TooLargeError, UnavailableError
from skybus.bus.packing import pack, unpack
from skybus.bus.provenance import stored_seq
from skybus.bus.streams import STORE_IS_FULL, asking, ensure_settings

if TYPE_CHECKING:
    from nats.aio.client import Client as Connection

    from skybus.bus.connection import Bus

KEPT = 120.0
"""Seconds that a body can be fetched."""
_OFFERED = KEPT / 2
"""Seconds that a body which is there is named to those who ask for the same again."""
FULL = (
    "the bucket of replies that are larger than a message is full (SKYBUS_REPLIES_MAX_BYTES): "
    f"each is kept for {KEPT:g} s, ask again then, or read in pages"
)
LARGEST = 2 << 30
"""Bytes of a reply that are unpacked; a whole queue or history may have many large items."""


async def ensure(
    jetstream: JetStreamContext,
    bucket: str,
    replicas: int = 1,
    *,
    max_bytes: int = room.REPLIES,
    ttl: float | None = KEPT,
    description: str = "bodies larger than a message",
) -> None:
    """Make the bucket if it is not there. Raises as `ensure_stream`."""
    async with asking(bucket, replicas):
        try:
            await jetstream.object_store(bucket)
        except NoSuchStreamError:
            await jetstream.create_object_store(
                bucket, ttl=ttl, description=description, replicas=replicas, max_bytes=max_bytes
            )
        else:
            await ensure_settings(jetstream, f"OBJ_{bucket}", num_replicas=replicas, max_bytes=max_bytes)


class _Stored(NamedTuple):
    put: asyncio.Task[str]
    """Results in where it is."""
    at: float
    """When that was begun, by the monotonic clock."""


class Blobs:
    """What a service has put into the bucket lately: the same body is put once for all who ask for it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._stored: dict[bytes, _Stored] = {}
        bus.on_connect.append(self._forget)

    async def store(self, body: bytes) -> str:
        """See that a body is in the bucket, and return where: the value of the header `Sky-Blob`."""
        digest = (await asyncio.to_thread(hashlib.sha256, body)).digest()
        oldest = time.monotonic() - _OFFERED
        self._stored = {of: stored for of, stored in self._stored.items() if stored.at > oldest}
        stored = self._stored.get(digest)
        if stored is None:
            stored = self._stored[digest] = _Stored(asyncio.create_task(self._put(body)), time.monotonic())
            stored.put.add_done_callback(lambda put: self._ended(digest, put))
        return await asyncio.shield(stored.put)  # others may wait for it, too

    def _ended(self, digest: bytes, put: asyncio.Task[str]) -> None:
        if put.cancelled() or put.exception():
            self._stored.pop(digest, None)

    async def _put(self, body: bytes) -> str:
        packed = await asyncio.to_thread(pack, body)
        bucket = self._bus.subjects.blob_bucket
        try:
            info = await (await self._bus.jetstream.object_store(bucket)).put(uuid.uuid4().hex, packed)
        except APIError as error:
            if error.err_code == STORE_IS_FULL:
                raise UnavailableError(FULL) from error
            raise
        return f"$O.{bucket}.C.{info.nuid} {len(packed)} {len(body)}"

    async def _forget(self, _: Connection) -> None:
        self._stored = {}  # it may be another server


async def fetch(bus: Bus, where: str) -> bytes:
    """Read the body that `Blobs.store` has put.

    Raises:
        TooLargeError: it has more than `LARGEST` bytes.
        SkybusError: it is not there, or not what was announced.
    """
    subject, packed, size = where.split()
    if max(int(packed), int(size)) > LARGEST:
        raise TooLargeError(f"the reply has {int(size):,} bytes, at most {LARGEST:,} are possible: read it in pages")
    stream = f"OBJ_{subject.split('.')[1]}"
    chunks: list[bytes] = []
    left, seq = int(packed), 1
    while left > 0:
        message = await _chunk(bus, stream, {"seq": seq, "next_by_subj": subject})
        seq = (stored_seq(message, stream) or seq) + 1
        chunks.append(message.data)
        left -= len(message.data)
    return await asyncio.to_thread(unpack, b"".join(chunks), int(size))


async def _chunk(bus: Bus, stream: str, query: dict[str, object]) -> Msg:
    async for _ in Looks():
        if message := await stored_message(bus, stream, query):
            return message
    raise SkybusError("the body of a large reply is gone: its chunks are not kept any more")
