"""Who asks: the verified user of a connection, and the token that stands for the name in a subject.

The server stamps each request that crosses from PEOPLE into SKY with `Nats-Request-Info` (a service import with
`share: true`). Only that header says who asked; the user token in the subject must agree with it. A subject alone
can be forged through a reply subject, the header cannot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import orjson

from skybus.bus.errors import DeniedError, InvalidError

PEOPLE = "PEOPLE"
"""The account of people and agents."""

REQUEST_INFO = "Nats-Request-Info"
_SAFE = re.compile(r"[A-Za-z0-9_-]")
_ESCAPE = re.compile(r"=([0-9A-F]{2})")


@dataclass(frozen=True)
class Requester:
    """A user that the server has verified."""

    user: str


@lru_cache
def user_token(name: str) -> str:
    """Encode a user name as one subject token: bytes outside `A-Za-z0-9_-` become `=XX`, as in quoted-printable."""
    if not name or len(name) > 128 or not name.isprintable():
        raise InvalidError(f"user name {name!r}: one to 128 printable characters are needed")
    return "".join(
        char if _SAFE.fullmatch(char) else "".join(f"={byte:02X}" for byte in char.encode()) for char in name
    )


def user_name(token: str) -> str:
    """Decode what `user_token` has made."""
    raw = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), token)
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def verified_requester(subject: str, headers: Mapping[str, str] | None) -> Requester:
    """Take the requester from the header that only the server can set, and hold it against the subject.

    Args:
        subject: `sky.{inst}.cmd.{user}.{endpoint}`.
        headers: those of the request, with their exact case.

    Raises:
        DeniedError: nobody verified the requester, or it speaks for somebody else.
    """
    claimed = subject.split(".")[3]
    info = _request_info(headers)
    if info.get("acc") != PEOPLE:
        raise DeniedError("nobody has verified who sent this request: connect with a user of the account PEOPLE")
    user = str(info.get("user", ""))
    if not user or user_token(user) != claimed:
        raise DeniedError(f"user {user!r} may not act as {user_name(claimed)!r}")
    return Requester(user=user)


def _request_info(headers: Mapping[str, str] | None) -> dict[str, object]:
    try:
        info = orjson.loads((headers or {}).get(REQUEST_INFO) or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return info if isinstance(info, dict) else {}
