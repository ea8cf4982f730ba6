"""`skybus clear-lock`: take away a lock whose key is lost."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from skybus.bus.errors import InvalidError, UnavailableError
from skybus.bus.settings import DEFAULT_INSTRUMENT, BusSettings, Listen
from skybus.cli.manager.options import BY_NAME
from skybus.cli.manager.services import redis_url
from skybus.cli.refusal import refuse

_TOOL = "skybus.queue.clear_lock"
"""Of the queue service, which knows its keys."""


def clear_lock(
    redis_addr: Annotated[
        str | None,
        typer.Option(help="A URL or HOST:PORT/DB; by default SKYBUS_REDIS_URL, that of the stack, or localhost."),
    ] = None,
    redis_name_prefix: Annotated[
        str | None,
        typer.Option(help="Of the keys; by default that of `skybus up` or SKYBUS_REDIS_PREFIX, else qs_default."),
    ] = None,
) -> None:
    """Clear the lock in Redis; start the stack again to unlock what runs."""
    listen = _listen()
    named = os.environ.get("SKYBUS_REDIS_URL") or (listen.redis if listen else BY_NAME["redis_addr"].default)
    is_own = redis_addr is None and (bool(os.environ.get("SKYBUS_REDIS_URL")) or named.startswith("unix://"))
    own_prefix = os.environ.get("SKYBUS_REDIS_PREFIX") or "sky"
    prefix = redis_name_prefix or (own_prefix if is_own else BY_NAME["redis_name_prefix"].default)
    try:
        address = redis_url(redis_addr or named)
    except InvalidError as error:
        refuse("clear-lock", error.message)
    instrument = os.environ.get("SKYBUS_INSTRUMENT") or (listen.instrument if listen else DEFAULT_INSTRUMENT)
    os.environ |= {"SKYBUS_REDIS_URL": address, "SKYBUS_REDIS_PREFIX": prefix, "SKYBUS_INSTRUMENT": instrument}
    os.execv(sys.executable, [sys.executable, "-m", _TOOL])  # noqa: S606 - no password on a command line


def _listen() -> Listen | None:
    try:
        return BusSettings().listen()
    except UnavailableError:
        return None
