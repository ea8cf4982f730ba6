"""Where a message is from: what each receiver checks before it takes one.

A requester chooses the subject of the reply, and NATS does not check its right to that subject. A person who may read
a stream can so make the server publish a stored message, with the headers of its author, on any subject that people
follow. But the server writes its own headers behind those of the author: a message from a stream always has them, and
one that a stream has published again has all five of `_AGAIN`, in this order. A name that the author has used stands
before them, so its message is taken for none that was published again, and read from the stream instead.
"""

from __future__ import annotations

from nats.aio.msg import Msg

from skybus.bus import headers
from skybus.bus.subjects import Subjects

STREAM, SUBJECT, SEQUENCE = "Nats-Stream", "Nats-Subject", "Nats-Sequence"
STORED, LAST_SEQUENCE = "Nats-Time-Stamp", "Nats-Last-Sequence"
PENDING, _STATUS, _DESCRIPTION = "Nats-Num-Pending", "Status", "Description"
_AGAIN = [STREAM, SUBJECT, SEQUENCE, STORED, LAST_SEQUENCE]
_BY_SERVER = {*_AGAIN, PENDING}
_NO_RESPONDERS = "503"


def is_event(subjects: Subjects, message: Msg) -> bool:
    """Whether a message is what its subject says: an event of a service, or what the right stream has published."""
    if subjects.stream_behind(message.subject):
        return published_seq(subjects, message) is not None
    head = message.headers or {}
    return head.get(headers.KIND) == headers.EVENT and not _BY_SERVER & head.keys() and _STATUS not in head


def published_seq(subjects: Subjects, message: Msg) -> int | None:
    """The sequence number of a message that its stream has published again; nothing for any other message."""
    head = message.headers or {}
    stream = subjects.stream_behind(message.subject)
    if stream is None or head.get(SUBJECT) != subjects.stored_under(message.subject):
        return None
    return stored_seq(message, stream) if [name for name in head if name in _BY_SERVER] == _AGAIN else None


def stored_seq(message: Msg, stream: str) -> int | None:
    """The sequence number of a message that was read from a stream; nothing for any other message."""
    head = message.headers or {}
    number = head.get(SEQUENCE, "")
    return int(number) if head.get(STREAM) == stream and number.isascii() and number.isdigit() else None


def status_of(message: Msg) -> str | None:
    """The status that the server sends in the place of a message; a stored message may only have a header like it."""
    head = message.headers or {}
    return None if STREAM in head else head.get(_STATUS)


def description_of(message: Msg) -> str:
    """What the server says of a status."""
    return (message.headers or {}).get(_DESCRIPTION, "")


def is_no_responders(message: Msg) -> bool:
    """Whether the server says that nobody listens."""
    return status_of(message) == _NO_RESPONDERS and not message.data


def is_reply(message: Msg) -> bool:
    """Whether a message is the reply of a service of ours."""
    return (message.headers or {}).get(headers.KIND) == headers.REPLY and STREAM not in (message.headers or {})
