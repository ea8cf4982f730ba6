"""Values that user code returns, as they arrive at the other end of the bus: as JSON has them."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

from skybus.bus.errors import InvalidError
from skybus.bus.json_values import half_character, write_json

_DEPTH = 16
"""Levels that messages put around a value; readers of JSON go no deeper than 200."""


def as_json(value: Any, limit: int) -> Any:
    """Return what JSON makes of a value.

    Args:
        value: anything.
        limit: in bytes; a report with a larger value would not fit into a message.

    Raises:
        ValueError: the value cannot be written as JSON, it is too large, or its parts lie too deep in each other.
    """
    try:
        data = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(f"Task result can not be serialized as JSON: {half_character('the result')}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"Task result can not be serialized as JSON: {error}") from error
    return _read_back(data, limit)


def as_json_or_none(value: Any, limit: int) -> Any:
    """The value, numpy's arrays included, as JSON has it; nothing if JSON has not."""
    try:
        return _read_back(write_json(value), limit)
    except (InvalidError, TypeError, ValueError):
        return None


def _read_back(data: bytes, limit: int) -> Any:
    if len(data) > limit:
        raise ValueError(
            f"The result is too large to be sent: {len(data):,} bytes as JSON, at most {limit:,} are possible"
        )
    from_json(b"[" * _DEPTH + data + b"]" * _DEPTH)
    return from_json(data)
