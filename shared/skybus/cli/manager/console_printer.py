"""Prints console output of all services in the terminal of `skybus re-manager`, as it comes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from skybus.bus.errors import SkybusError
from skybus.cli.plan_output import plan_output
from skybus.client.client import Client

log = structlog.get_logger()


async def print_console(data_dir: Path, since: float) -> None:
    """Print until cancelled, or until nobody reads what is printed.

    Args:
        data_dir: of the stack.
        since: begin with output of this time, unix seconds.
    """
    try:
        async with Client.connect(data_dir=data_dir) as client:
            plans = plan_output()
            async for chunk in client.console(since=since, everything=True):
                await asyncio.to_thread(_write, plans.shown(chunk.text))  # a terminal may be stopped
    except SkybusError as error:
        log.warning("console output is not printed", reason=error.message)
    except OSError:
        log.warning("console output is not printed any more: who has read it is gone")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
