"""Which requests were carried out, as long as they may be repeated: one that is sent again is not carried out again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message
from skybus.bus.same_request import require_same
from skybus.bus.service import current_call

MOST = 1000
"""Requests that are kept; of more the oldest are forgotten before their time."""


class DoneRequest(Message):
    """A request that was carried out."""

    at: float
    """Unix seconds."""
    digest: str = ""
    """Of its body."""

    @model_validator(mode="before")
    @classmethod
    def _was_a_time(cls, value: Any) -> Any:
        return {"at": value} if isinstance(value, (int, float)) else value  # as versions without digests wrote it


Done = Mapping[str, DoneRequest]
"""By the key of each."""


@dataclass(frozen=True)
class Asked:
    """A request that is done once."""

    endpoint: Endpoint[Any, Any]
    key: str
    """Empty for a request without an id."""
    digest: str
    """Of its body."""

    @classmethod
    def now(cls, endpoint: Endpoint[Any, Any]) -> Asked:
        """The request that is being answered."""
        call = current_call()
        return cls(endpoint, call.key(endpoint), call.digest)

    def is_in(self, done: Done) -> bool:
        """Whether this request was carried out before.

        Raises:
            ConflictError: another one was, under the same id.
        """
        before = done.get(self.key)
        if before:
            require_same(self.endpoint, self.digest, before.digest)
        return before is not None


def with_done(done: Done, asked: Asked, seconds: float) -> dict[str, DoneRequest]:
    """Those that are younger than some seconds, and one more; without a key, no more."""
    now = time.time()
    kept = [(key, request) for key, request in done.items() if now - request.at < seconds]
    if asked.key:
        kept.append((asked.key, DoneRequest(at=now, digest=asked.digest)))
    return dict(kept[-MOST:])
