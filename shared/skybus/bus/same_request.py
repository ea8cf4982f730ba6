"""A request that comes again under its id has the same body, byte for byte; another body is another request."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import ConflictError

DIGEST = 32
"""Characters of a digest."""
_LARGE = 1 << 20
"""Bytes of a body that is hashed in another thread."""


async def digest_of(body: bytes) -> str:
    """Compute what stands for a body."""
    return await asyncio.to_thread(_digest, body) if len(body) > _LARGE else _digest(body)


def require_same(endpoint: Endpoint[Any, Any], now: str, before: str) -> None:
    """Refuse a request whose id has been used for another one; an empty digest is one that nobody knows.

    Raises:
        ConflictError: the bodies differ.
    """
    if now and before and now != before:
        raise ConflictError(
            f"{endpoint.name}: this request id belongs to a request with another body, which is done or under way. "
            "Nothing was done now: give each new request an id of its own, and repeat a request unchanged"
        )


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=DIGEST // 2).hexdigest()
