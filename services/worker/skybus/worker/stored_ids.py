"""Which messages a stream has, when it is too late for JetStream to drop by its id what is sent once more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog

from skybus.bus import headers
from skybus.bus.connection import Bus
from skybus.bus.direct_get import stored_message
from skybus.bus.errors import DeniedError, NobodyThereError
from skybus.bus.provenance import stored_seq

log = structlog.get_logger()


async def ids_since(bus: Bus, subject: str, begin: float) -> set[str]:
    """Ids of what a stream has of a subject since a time, unix seconds; none if nobody may read there.

    A report is not looked for: one that comes twice is filed once.

    Raises:
        UnavailableError: the stream cannot be asked now.
    """
    stream = bus.subjects.read_again_from(subject)
    found = set[str]()
    if stream is None:
        return found
    start: dict[str, Any] = {"start_time": datetime.fromtimestamp(begin, UTC).isoformat()}
    while True:
        try:
            message = await stored_message(bus, stream, {**start, "next_by_subj": subject})
        except (NobodyThereError, DeniedError) as error:
            log.warning("a stream does not say what it has", stream=stream, reason=error.message)
            return found
        if message is None:
            return found
        found.add((message.headers or {}).get(headers.MESSAGE_ID, ""))
        start = {"seq": (stored_seq(message, stream) or 0) + 1}
