"""Reports to what has started this process, systemd or `skybus up`, by the protocol of sd_notify(3)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

ADDRESS, SILENCE = "NOTIFY_SOCKET", "WATCHDOG_USEC"
FOR_US_ALONE = (ADDRESS, SILENCE, "WATCHDOG_PID")
"""Environment variables that a process which we start must not inherit: it would report in our name."""
ALIVE = "WATCHDOG=1"
_BEATS = 4
"""Reports in the time of silence that is allowed."""
_SEND_PATIENCE = 1.0
"""Seconds that a report waits while the other side reads none."""


def tell_ready(**facts: str) -> None:
    """Report that the service answers.

    Args:
        facts: What `skybus up` learns besides; systemd ignores names that begin with `X_`.
    """
    _report("READY=1", *(f"{name}={fact}" for name, fact in facts.items()))


async def report_life() -> None:
    """Report from the event loop that it runs, as often as is asked for, until cancelled."""
    seconds = int(os.environ.get(SILENCE) or 0) / 1e6
    while seconds:
        _report(ALIVE, patience=0)
        await asyncio.sleep(seconds / _BEATS)


def _report(*lines: str, patience: float = _SEND_PATIENCE) -> None:
    """Send a report; whoever has asked for it may no longer listen."""
    address = os.environ.get(ADDRESS)
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.settimeout(patience)
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall("\n".join(lines).encode())
