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

_TOOL = "skybus.queue.clear_lock"
"""Of the queue service, which knows its keys."""


def clear_lock(
    redis_addr: Annotated[
        str | None,
        typer.Option(help="HOST:PORT, HOST:PORT/DB or a URL; by default that of the stack, or localhost."),
    ] = None,
    redis_name_prefix: Annotated[
        str | None,
        typer.Option(help="Of the keys; by default sky where the stack has started Redis, else qs_default."),
    ] = None,
) -> None:
    """Clear the lock in Redis; start the stack again to unlock what runs."""
    listen = _listen()
    is_own = redis_addr is None and listen is not None and listen.redis.startswith("unix://")
    prefix = redis_name_prefix or ("sky" if is_own else BY_NAME["redis_name_prefix"].default)
    try:
        address = redis_url(redis_addr or (listen.redis if listen else BY_NAME["redis_addr"].default))
    except InvalidError as error:
        typer.secho(f"skybus clear-lock: {error.message}", fg="red", err=True)
        raise typer.Exit(1) from None
    instrument = os.environ.get("SKYBUS_INSTRUMENT") or (listen.instrument if listen else DEFAULT_INSTRUMENT)
    os.environ |= {"SKYBUS_REDIS_URL": address, "SKYBUS_REDIS_PREFIX": prefix, "SKYBUS_INSTRUMENT": instrument}
    os.execv(sys.executable, [sys.executable, "-m", _TOOL])  # noqa: S606 - no password on a command line


def _listen() -> Listen | None:
    try:
        return BusSettings().listen()
    except UnavailableError:
        return None
