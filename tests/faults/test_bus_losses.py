"""The bus is lost, or its disk full, while a plan says much and ends: later all of it is there, in order, once."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path

import pytest

from skybus.bus.api.console import ConsoleChunk
from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from skybus.client.streams import Document
from tests.faults.test_doctor import doctor
from tests.system.stack import RunningStack, stack_up

STARTUP = Path(__file__).parent / "startup_for_losses"
LINES, RUNS = 3000, 5


@asynccontextmanager
async def no_nats(stack: RunningStack, _client: Client) -> AsyncIterator[None]:
    """Without a NATS server."""
    stack.process.send_signal(signal.SIGSTOP)  # nobody starts it meanwhile
    try:
        stack.kill("nats")
        yield
    finally:
        stack.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def full_disk(stack: RunningStack, client: Client) -> AsyncIterator[None]:
    """With a NATS server that has no room, and says so; the plan is over before there is room again."""
    config = stack.data_dir / "nats" / "server.conf"
    usual = json.loads(config.read_text())
    jetstream = {**usual["jetstream"], "max_file_store": 1024}
    config.write_text(json.dumps({**usual, "jetstream": jetstream}))
    stack.kill("nats")
    status = await client.wait(lambda status: "jetstream" in status.unreachable)
    assert "JetStream stores nothing" in status.unreachable["jetstream"].why
    assert await doctor(stack) == (1, {"jetstream"})
    yield
    await client.wait(lambda status: status.worker_environment_state == "idle")
    status = await client.status()
    assert (status.items_in_history, status.items_in_queue, status.manager_state) == (0, 1, "executing_queue")
    config.write_text(json.dumps(usual))
    stack.kill("nats")


async def until_there(path: Path) -> None:
    """Wait for a file: the bus is not there to tell of it."""
    while not path.exists():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("loss", [no_nats, full_disk])
async def test_what_a_plan_says_meanwhile_arrives_in_order_and_once(
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loss: Callable[[RunningStack, Client], AbstractAsyncContextManager[None]],
) -> None:
    monkeypatch.setenv("SKYBUS_TEST_RUNS", str(tmp_path))
    chunks: list[ConsoleChunk] = []
    documents: list[Document] = []
    async with (
        stack_up(data_dir, "--startup-dir", str(STARTUP)) as stack,
        stack.client() as client,
    ):
        await client.open_environment()
        first = await client.add("tell_much", lines=LINES, runs=RUNS)
        await client.add("tell_much", lines=1, runs=1)
        begun = asyncio.Event()

        async def read_console() -> None:
            async with aclosing(client.console(item_uid=first["item_uid"])) as found:
                async for chunk in found:
                    chunks.append(chunk)
                    begun.set()

        async def read_documents() -> None:
            async with aclosing(client.documents()) as found:
                async for document in found:
                    documents.append(document)  # noqa: PERF401 - each as it comes

        readers = [asyncio.create_task(read_console()), asyncio.create_task(read_documents())]
        try:
            await client.start()
            await begun.wait()
            async with loss(stack, client):
                (tmp_path / "go").touch()
                await until_there(tmp_path / "done")
            status = await client.wait(lambda status: status.items_in_history == 2 and not status.unreachable)
            assert status.manager_state == "idle"
            stored = [chunk async for chunk in client.console(item_uid=first["item_uid"], follow=False)]
            while len(chunks) < len(stored) or len(documents) < (RUNS + 1) * 6:
                await asyncio.sleep(0.01)
        finally:
            await end_tasks(readers)
        history = (await client.history()).items
    assert [item["result"]["exit_status"] for item in history] == ["completed", "completed"]
    assert "".join(chunk.text for chunk in stored).split("\n")[: LINES + 1] == [
        "begun",
        *(f"line {number}" for number in range(LINES)),
    ]
    assert [chunk.seq for chunk in chunks] == [chunk.seq for chunk in stored]
    names = ["start", "descriptor", "event", "event", "event", "stop"]
    assert [document.name for document in documents] == names * (RUNS + 1)
    starts = [document.doc["uid"] for document in documents if document.name == "start"]
    assert starts == [uid for item in history for uid in item["result"]["run_uids"]]
    assert max(Counter(document.doc["uid"] for document in documents).values()) == 1
