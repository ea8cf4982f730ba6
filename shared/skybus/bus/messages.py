"""The base of every message, and how one becomes bytes and back."""

from __future__ import annotations

import reprlib
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from skybus.bus import large_json
from skybus.bus.errors import InvalidError, SkybusError
from skybus.bus.json_values import unreadable, write_json

M = TypeVar("M", bound="Message")

_NOT_SHOWN = ("lock_key", "script", "user_group_permissions")
"""Parameters whose values stay out of messages, which are logged: keys, code, files."""
_SHOWN = 80
"""Characters of a wrong value that an error shows."""
_BRIEF = reprlib.Repr()
"""Writes no more of a value than is shown: one of megabytes takes seconds."""
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 2 * _SHOWN
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxset = _SHOWN


class Message(BaseModel):
    """What travels on the bus: frozen, and lenient towards fields of a newer version."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Request(Message):
    """What a client asks: a field that we do not know is a mistake of the caller; one that was not set is not sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Message):
    """A reply that says only: done."""


class Empty(Request):
    """A request without parameters."""


def encode(message: Any) -> bytes:
    """Write a message, or a part of one, as JSON.

    Raises:
        InvalidError: something in it cannot be carried.
    """
    try:
        return write_json(plain(message) if isinstance(message, BaseModel) else message, plain)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"{type(message).__name__} cannot be written as JSON: {error}") from None


def decode(cls: type[M], data: bytes) -> M:
    """Read a message that a service of ours wrote; raises SkybusError if it is not one."""
    try:
        return cls.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise SkybusError(f"received a {cls.__name__} that cannot be read: {explain(error)}") from None


def decode_request(cls: type[M], data: bytes) -> M:
    """Read and validate a request that came from outside; raises InvalidError that names the field."""
    try:
        return cls.model_validate_json(data or b"{}")
    except ValidationError as error:
        is_no_json = error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"
        raise InvalidError((unreadable(data) if is_no_json else "") or explain(error)) from None


def decode_large_request(cls: type[M], data: bytes, most: int) -> M:
    """Read a request of many kilobytes as `decode_request` does; call it in a thread.

    Raises:
        TooLargeError: its values would take more than `most` bytes in memory.
        InvalidError: it is not valid; the error names the field.
    """
    large_json.require_bounded(data, most)
    try:
        return cls.model_validate(large_json.read(data))
    except ValidationError as error:
        raise InvalidError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Say in one sentence which fields are wrong and why, with what was given."""
    return "; ".join(_explain_one(e) for e in error.errors(include_url=False)[:5])


def plain(value: Any) -> Any:
    """A value of a message as a JSON type, if it is not one; one level of it."""
    if isinstance(value, Request):
        given = value.model_fields_set  # in no order that another process would repeat
        return {name: value.__dict__[name] for name in type(value).model_fields if name in given}
    if isinstance(value, BaseModel):
        return value.__dict__
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def brief(value: Any, limit: int) -> str:
    """Write a value as Python does, cut off behind `limit` characters."""
    text = _BRIEF.repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _explain_one(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    shown = brief(error.get("input"), _SHOWN)
    if error["type"] == "json_invalid":
        return f"the request is not JSON: {error['msg']}"
    if error["type"] == "extra_forbidden":
        return f"unsupported parameter {where!r}"
    if error["type"] == "missing":
        return f"required parameter {where!r} is missing"
    if not where or any(part in _NOT_SHOWN for part in error["loc"]):
        return f"parameter {where!r}: {error['msg']}" if where else error["msg"]
    return f"parameter {where!r}: {error['msg']} (given: {shown})"
