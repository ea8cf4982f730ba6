"""Bluesky documents on their way to the stream: as JSON, below the run that they belong to.

NaN and the infinities stay what they are, written as Python's json module writes them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import structlog

from skybus.bus import headers
from skybus.bus.bodies import LARGEST_DOCUMENT
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError
from skybus.bus.identity import user_token
from skybus.bus.json_values import write_json
from skybus.bus.packing import pack
from skybus.worker.outbox import Outbox

log = structlog.get_logger()

UNKNOWN_RUN = "unknown"


class DocumentSender:
    """Puts the documents of an attempt into the outbox; called by the RunEngine in its own thread.

    Args:
        outbox: delivers them.
        bus: says where to, and how large a message may be.
        too_large: told in words of each document that no message can carry.
    """

    def __init__(self, outbox: Outbox, bus: Bus, too_large: Callable[[str], None]) -> None:
        self._outbox = outbox
        self._bus = bus
        self._too_large = too_large
        self._runs: dict[str, str] = {}
        """Uid of a descriptor or resource → uid of its run."""

    def send(self, name: str, document: Mapping[str, Any]) -> None:
        """Send one document."""
        subject = self._bus.subjects.document(name, _token(self._run_of(name, document)))
        body, message_id, head, limit = to_json(document), _message_id(name, document), {}, self._bus.payload_limit
        if len(body) > limit:
            packed = pack(body)
            if len(packed) <= limit and len(body) <= LARGEST_DOCUMENT:
                body, head = packed, {headers.ENCODING: "zlib"}
            else:
                self._too_large(
                    f"a document is too large for the bus: '{name}' {document.get('uid', '')} has {len(body):,} bytes, "
                    f"{len(packed):,} compressed, and {LARGEST_DOCUMENT:,}, {limit:,} compressed, are possible. "
                    f"Subscribers get its name; the document itself is in {self._outbox.file_of(message_id)}"
                )
        self._outbox.put(subject, body, message_id, head)

    def _run_of(self, name: str, document: Mapping[str, Any]) -> str:
        if name == "start":
            return str(document["uid"])
        if run_uid := document.get("run_start"):
            if uid := document.get("uid"):
                self._runs[uid] = run_uid
            return str(run_uid)
        parent = document.get("descriptor") or document.get("resource") or document.get("stream_resource")
        return self._runs.get(str(parent), UNKNOWN_RUN)


def to_json(document: Mapping[str, Any]) -> bytes:
    """Write a document as JSON, whatever its author has put into it."""
    try:
        return write_json(document, _plain)
    except (InvalidError, TypeError, ValueError, RecursionError) as error:  # such as half a character in a text
        log.debug("a document is written the slow way", error=str(error))
    return json.dumps(_simple(document), default=str).encode()


def _message_id(name: str, document: Mapping[str, Any]) -> str:
    if name == "start":
        return f"{document['uid']}:start"
    uid = document.get("uid") or document.get("datum_id")
    return f"{name}:{uid}" if isinstance(uid, str) else f"{name}:{uuid.uuid4()}"


def _token(run_uid: str) -> str:
    try:
        return user_token(run_uid)
    except InvalidError:
        return UNKNOWN_RUN


def _plain(value: Any) -> Any:
    """Say what orjson shall write in place of a value that it does not know."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, complex):
        return [value.real, value.imag]
    return str(value)


def _simple(value: Any) -> Any:
    """Reduce a value to what the standard library's JSON writes."""
    if isinstance(value, Mapping):
        return {str(key): _simple(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _simple(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_simple(inner) for inner in value]
    return value if isinstance(value, int | float | str | bool | None) else str(value)
