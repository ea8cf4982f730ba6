"""The clock of the NATS server: JetStream says what time it is when it is asked about a stream."""

from __future__ import annotations

import time
from datetime import datetime

import orjson

from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError

_PATIENCE = 0.5
"""Seconds."""


async def server_ahead(bus: Bus) -> float | None:
    """How many seconds the server's clock is ahead of ours; on a cluster, that of the server with the state bucket."""
    sent = time.time()
    try:
        subject = f"$JS.API.STREAM.INFO.KV_{bus.subjects.state_bucket}"
        answer = await bus.request_raw(subject, b"", timeout=_PATIENCE)
        there = datetime.fromisoformat(orjson.loads(answer.data)["ts"]).timestamp()
    except (SkybusError, ValueError, KeyError):
        return None
    return there - (sent + time.time()) / 2
