"""The command line shows what users and plans have written as text, in a terminal and in a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skybus.bus.errors import InvalidError
from skybus.console.__main__ import serve
from skybus.console.settings import ConsoleSettings
from tests.integration.bus_fixtures import CannedQueue, canned_queue, service
from tests.promises import PATIENCE
from tests.servers import NatsServer

SKYBUS = Path(sys.executable).with_name("skybus")
EVIL = "x\x1b]52;c;aGk=\x07\x9b2J[red]:bug:\n\u202e"
SHOWN = r"x\x1b]52;c;aGk=\x07\x9b2J[red]:bug:\n\u202e"
PRINTED = "a\n\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07\x1b[Ab\x07\n"


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[CannedQueue]:
    async with canned_queue(nats) as queue:
        yield queue


@asynccontextmanager
async def printed(nats: NatsServer) -> AsyncIterator[None]:
    """A console service, and what a plan has printed."""
    settings = ConsoleSettings(data_dir=nats.data_dir)
    async with service(nats.make_bus("console"), serve, settings), nats.bus("environment") as plans:
        await plans.connection.request(plans.subjects.console("worker.item"), PRINTED.encode(), timeout=PATIENCE)
        yield


async def run(nats: NatsServer, *words: str, stdout: int = subprocess.PIPE) -> tuple[str, str]:
    environment = {**os.environ, "SKYBUS_DATA_DIR": str(nats.data_dir), "TERM": "xterm"}
    process = await asyncio.create_subprocess_exec(
        SKYBUS, *words, env=environment, stdout=stdout, stderr=subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    return (out or b"").decode(), errors.decode()


async def run_in_terminal(nats: NatsServer, *words: str) -> str:
    """What a terminal gets."""
    ours, theirs = pty.openpty()
    try:
        await run(nats, *words, stdout=theirs)
        return os.read(ours, 100_000).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)


async def test_items_and_refusals_are_shown_as_text(nats: NatsServer, queue: CannedQueue) -> None:
    queue.items = [{"name": EVIL, "args": [EVIL], "kwargs": {}, "user": EVIL, "item_uid": "u"}]
    queue.refuses_status = InvalidError(f"{EVIL} is refused")
    (listed, _), (found, _), (_, refused) = await asyncio.gather(
        run(nats, "queue", "list"), run(nats, "queue", "list", "--json"), run(nats, "status")
    )
    assert listed.count(SHOWN) == 3
    assert json.loads(found)["items"] == queue.items
    assert refused.count("\n") == 1
    assert SHOWN.replace(r"\n", " ") in refused
    for text in (listed, found, refused):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)


async def test_output_of_plans_colours_a_terminal_and_is_text_in_a_pipe(nats: NatsServer) -> None:
    async with printed(nats):
        piped, _ = await run(nats, "console")
        raw, _ = await run(nats, "console", "--raw")
        seen = await run_in_terminal(nats, "console")
    assert piped == "a\nred b\\x07\n"
    assert raw == PRINTED
    assert seen == "a\n\x1b[31mred\x1b[0m \x1b[Ab\\x07\n\x1b[0m"
