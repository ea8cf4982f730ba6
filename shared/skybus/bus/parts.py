"""Bodies larger than a message, cut into parts (docs/decisions/0019).

Each part is a request of its own. Its header `Sky-Part` has the offset of the part, the compressed size of the whole
body, and its size. The first part goes to the endpoint. While parts are missing, the service answers each with a token
in `Sky-More`. The next part goes to the subject that the token names; only this process of the service listens there.
The answer to the last part is the reply to the request.

A service without the right to use the object store sends a large reply in the same way: the reply brings the first part
with `Sky-Part` and `Sky-More`, and the requester asks for the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from skybus.bus import headers
from skybus.bus.endpoints import Endpoint, InternalEndpoint, Rep, Req
from skybus.bus.errors import InvalidError, SkybusError, TooLargeError
from skybus.bus.packing import too_large, unpack

_ANNOUNCED = re.compile(r"(\d{1,12}) (\d{1,12}) (\d{1,12})", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f]{1,32}\.[0-9a-f]{1,32}")
_BYTES_PER_SECOND = 2 << 20


class Part(NamedTuple):
    """What the header of a part announces; all three in bytes."""

    offset: int
    packed: int
    size: int

    def header(self) -> str:
        """The value of the header."""
        return f"{self.offset} {self.packed} {self.size}"


@dataclass
class Parcel:
    """A body of which parts have come.

    Raises:
        TooLargeError: it is announced with more than `limit` bytes.
    """

    what: str
    """For messages: the endpoint."""
    announced: Part
    limit: int
    """Bytes."""
    _parts: list[bytes] = field(default_factory=list)
    _received: int = 0

    def __post_init__(self) -> None:
        _, packed, size = self.announced
        if max(packed, size) > self.limit:
            raise TooLargeError(too_large(f"{self.what}: the body", max(packed, size), self.limit))

    @property
    def is_whole(self) -> bool:
        """Whether all parts have come."""
        return self._received == self.announced.packed

    @property
    def received(self) -> int:
        """Compressed bytes that have come."""
        return self._received

    def add(self, part: Part, data: bytes) -> None:
        """Take the next part.

        Raises:
            InvalidError: it is not the next one, or more than was announced.
        """
        if part != self.announced._replace(offset=self._received):
            raise InvalidError(f"{self.what}: a part of another body, or not the next one")
        if not data or self._received + len(data) > self.announced.packed:
            raise InvalidError(f"{self.what}: a part is empty, or longer than what is left")
        self._parts.append(data)
        self._received += len(data)

    def unpacked(self) -> bytes:
        """The body; to be called in a thread.

        Raises:
            InvalidError: it is not what was announced.
        """
        return unpack(b"".join(self._parts), self.announced.size)


def announced(head: Mapping[str, str]) -> Part | None:
    """What the header of a part says; nothing for a message that is whole.

    Raises:
        InvalidError: the header cannot be read.
    """
    value = head.get(headers.PART)
    if value is None:
        return None
    found = _ANNOUNCED.fullmatch(value)
    if not found:
        raise InvalidError(f"the header {headers.PART} is not 'offset compressed-size size': {value[:80]!r}")
    return Part(*map(int, found.groups()))


def following(endpoint: Endpoint[Req, Rep], token: str) -> Endpoint[Any, Any]:
    """Where the parts after the first are sent, or asked for.

    Raises:
        SkybusError: the token is none: a service could make us send to any subject.
    """
    if not _TOKEN.fullmatch(token):
        raise SkybusError(f"{endpoint.name}: the service names no place for the next part: {token[:80]!r}")
    service = f"{endpoint.name.partition('.')[0]}." if isinstance(endpoint, InternalEndpoint) else ""
    return replace(endpoint, name=f"{service}part.{token}")


def extra_time(size: int) -> float:
    """Seconds that a request of so many bytes gets beyond the time that it has otherwise."""
    return size / _BYTES_PER_SECOND if size > _BYTES_PER_SECOND else 0.0
