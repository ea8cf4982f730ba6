"""The JetStream streams and buckets of an instrument, and how each is made.

What a stream has stored is published again as an event (`evt.console.>`, `evt.doc.>`) with its sequence number in
`Nats-Sequence`: who watches live and reads history joins the two without a gap and sees nothing twice.

On a cluster each is kept by as many servers as `SKYBUS_REPLICAS` says (docs/decisions/0012).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RePublish, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServerError

from skybus.bus import room
from skybus.bus.errors import UnavailableError
from skybus.bus.subjects import Subjects

log = structlog.get_logger()

DAY = 86_400.0
DUPLICATE_WINDOW = 600.0
"""Seconds in which a message sent twice under one id is stored once."""
LIFE_MESSAGE = 4 << 20
"""Most bytes of one report, or of one part of it, with its headers."""
STORE_IS_FULL = 10077
"""JetStream's code: the stream takes no more, since it has its `max_bytes`."""
_PATIENCE = 2.0
"""Seconds until JetStream must have answered; then it is asked again, on a new connection."""
_TOO_FEW_SERVERS = (10005, 10074)
"""JetStream's codes: no server is left for another copy; not a cluster."""
_NO_ROOM = 10047
"""JetStream's code: its disk has not the room that its streams may come to need; said of those too that it has."""


def console_stream(subjects: Subjects, max_age: float, max_bytes: int) -> StreamConfig:
    """Console output, the oldest dropped first."""
    return StreamConfig(
        name=subjects.console_stream,
        subjects=[subjects.console(">")],
        max_age=max_age,
        max_bytes=max_bytes,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        allow_direct=True,
        duplicate_window=min(DUPLICATE_WINDOW, max_age),
        republish=RePublish(src=subjects.console(">"), dest=subjects.event("console.>")),
    )


def docs_stream(subjects: Subjects, max_age: float = 14 * DAY, max_bytes: int = room.DOCS) -> StreamConfig:
    """Bluesky documents."""
    return StreamConfig(
        name=subjects.docs_stream,
        subjects=[subjects.document("*", "*")],
        max_age=max_age,
        max_bytes=max_bytes,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        allow_direct=True,
        duplicate_window=DUPLICATE_WINDOW,
        republish=RePublish(
            src=subjects.document("*", "*"), dest=subjects.event("doc.{{wildcard(1)}}.{{wildcard(2)}}")
        ),
    )


def life_stream(subjects: Subjects, max_bytes: int = room.LIFE) -> StreamConfig:
    """Reports for the queue service. A full stream refuses new ones, which then wait where they are made."""
    return StreamConfig(
        name=subjects.life_stream,
        subjects=[subjects.life(">")],
        max_age=30 * DAY,
        max_bytes=max_bytes,
        max_msg_size=LIFE_MESSAGE,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        duplicate_window=DUPLICATE_WINDOW,
        allow_direct=True,
        allow_msg_ttl=True,
    )


async def ensure_stream(jetstream: JetStreamContext, config: StreamConfig, replicas: int = 1) -> None:
    """Make the stream, or give it the present settings.

    Raises:
        UnavailableError: there are fewer servers than it is to have copies, or there is no room for it.
        TimeoutError: the servers of a cluster are choosing one who decides.
    """
    config = config.evolve(num_replicas=replicas)
    async with asking(str(config.name), replicas):
        try:
            await _add_or_update(jetstream, config)
        except ServerError as error:
            if error.err_code != _NO_ROOM:
                raise
            await _leave_as_it_is(jetstream, config)


async def _add_or_update(jetstream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await jetstream.add_stream(config)
    except BadRequestError as error:
        if error.err_code in _TOO_FEW_SERVERS:
            raise
        await jetstream.update_stream(config)


async def _leave_as_it_is(jetstream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await jetstream.stream_info(str(config.name))
    except NotFoundError:
        size = f"{config.max_bytes / (1 << 30):.2g} GiB" if config.max_bytes else "room"
        raise UnavailableError(
            f"JetStream's disk is too small, or SKYBUS_JETSTREAM_MAX_BYTES is: {config.name} must have {size}"
        ) from None
    log.warning("JetStream's disk is too small for all that its streams may keep", stream=config.name)


async def ensure_bucket(
    jetstream: JetStreamContext, bucket: str, replicas: int = 1, max_bytes: int = room.STATE
) -> None:
    """Make the key-value bucket if it is not there; it keeps the last value of each key. Raises as `ensure_stream`.

    Whoever may write one key could remove all others with a header (`Nats-Rollup: all`): that is not allowed.
    """
    async with asking(bucket, replicas):
        try:
            await jetstream.key_value(bucket)
        except NotFoundError:
            await jetstream.create_key_value(
                bucket=bucket, history=1, direct=True, replicas=replicas, max_bytes=max_bytes
            )
        await ensure_settings(
            jetstream, f"KV_{bucket}", num_replicas=replicas, max_bytes=max_bytes, allow_rollup_hdrs=False
        )


async def ensure_settings(jetstream: JetStreamContext, stream: str, **settings: Any) -> None:
    """Give the stream of a bucket that is there these settings, by their names in `StreamConfig`."""
    config = (await jetstream.stream_info(stream)).config
    wanted = config.evolve(**settings)
    if wanted == config:
        return
    try:
        await jetstream.update_stream(wanted)
    except ServerError as error:
        if error.err_code != _NO_ROOM:
            raise
        log.warning("JetStream's disk is too small for all that its streams may keep", stream=stream)


@asynccontextmanager
async def asking(what: str, replicas: int) -> AsyncIterator[None]:
    """Ask for a stream: not for long, as nobody answers during an election; too few servers are said in our words."""
    try:
        async with asyncio.timeout(_PATIENCE):
            yield
    except APIError as error:
        if error.err_code not in _TOO_FEW_SERVERS:
            raise
        raise UnavailableError(
            f"{what} is to have {replicas} copies (SKYBUS_REPLICAS), and there are not so many NATS servers in the "
            f"cluster with room for it: {error.description}"
        ) from None
