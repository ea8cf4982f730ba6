"""Bodies larger than a message: compressed into the object store, read chunk by chunk by direct get.

A client has no consumer rights, so it reads the chunks of the object (subject `$O.{bucket}.C.{nuid}`, NATS ADR-20) with
`$JS.API.DIRECT.GET` (ADR-31).
"""

from __future__ import annotations

import asyncio
import uuid
import zlib
from typing import TYPE_CHECKING

import orjson
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError as NoSuchStreamError

from skybus.bus.errors import SkybusError

if TYPE_CHECKING:
    from skybus.bus.connection import Bus

KEPT = 120.0
"""Seconds that a body can be fetched."""


async def ensure(jetstream: JetStreamContext, bucket: str) -> None:
    """Make the bucket if it is not there."""
    try:
        await jetstream.object_store(bucket)
    except NoSuchStreamError:
        await jetstream.create_object_store(bucket, ttl=KEPT, description="bodies larger than a message")


async def store(jetstream: JetStreamContext, bucket: str, body: bytes) -> str:
    """Put a body into the bucket and return where it is: the value of the header `Sky-Blob`."""
    packed = await asyncio.to_thread(zlib.compress, body, 1)
    bucket_store = await jetstream.object_store(bucket)
    info = await bucket_store.put(uuid.uuid4().hex, packed)
    return f"$O.{bucket}.C.{info.nuid} {len(packed)}"


async def fetch(bus: Bus, where: str) -> bytes:
    """Read the body that `store` has put."""
    subject, size = where.split()
    bucket = subject.split(".")[1]
    chunks: list[bytes] = []
    left, seq = int(size), 1
    while left > 0:
        query = orjson.dumps({"seq": seq, "next_by_subj": subject})
        message = await bus.request_raw(f"$JS.API.DIRECT.GET.OBJ_{bucket}", query)
        head = message.headers or {}
        if "Nats-Sequence" not in head:
            raise SkybusError(f"the body of a large reply is gone: {head.get('Description', 'no such chunk')}")
        seq = int(head["Nats-Sequence"]) + 1
        chunks.append(message.data)
        left -= len(message.data)
    return await asyncio.to_thread(zlib.decompress, b"".join(chunks))
