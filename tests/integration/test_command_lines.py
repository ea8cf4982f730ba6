"""What a site reads in the console: one line for each command, done or refused, and what became of the items."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from nats.aio.msg import Msg

from skybus.bus.api import backup, engine, environment, history, lock, manager, queue, tasks
from skybus.bus.api.internal import EnvironmentPhase
from skybus.bus.api.items import Item, ItemSpec, QueueChange
from skybus.bus.api.permissions import PERMISSIONS_RELOAD, PERMISSIONS_SET, PermissionsReload, PermissionsSet
from skybus.bus.command_lines import PART_OF_ANOTHER, WORDS
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import SkybusError
from skybus.bus.logs import start_logging
from skybus.bus.messages import Message
from skybus.bus.streams import console_stream, ensure_stream
from skybus.client.client import Client
from tests.integration.auth_fixtures import auth
from tests.integration.auth_fixtures import queue_service as auth_queue
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, opened, queue_service
from tests.promises import PATIENCE
from tests.servers import NatsServer, Valkey

__all__ = ["client", "house"]

NUMBER = re.compile(r"^\d+ ")
EVERY = [*{text for words in WORDS.values() for text in (words.done, words.refused) if text}]


class Lines:
    """The lines that the services put into the console stream."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._came = asyncio.Event()

    async def receive(self, message: Msg) -> None:
        self.lines += message.data.decode().splitlines()
        self._came.set()

    async def until(self, text: str) -> list[str]:
        """Wait for a line with this text; all lines so far."""
        async with asyncio.timeout(PATIENCE):
            while not any(text in line for line in self.lines):
                self._came.clear()
                await self._came.wait()
        return self.lines

    def of_commands(self) -> list[str]:
        """How the lines of commands begin."""
        texts = [line.partition("]")[2].strip() for line in self.lines]
        return [begin for text in texts if (begin := _begin(text))]


def _begin(text: str) -> str | None:
    known = [words for words in EVERY if f"{NUMBER.sub('{number} ', text)} ".startswith(f"{words} ")]
    return max(known, key=len, default=None)


@pytest.fixture
async def lines(nats: NatsServer) -> AsyncIterator[Lines]:
    start_logging("queue")
    lines = Lines()
    async with nats.bus("console") as bus, nats.bus("operator") as people:
        await ensure_stream(bus.jetstream, console_stream(bus.subjects, 3600, 1 << 26))
        await people.subscribe(people.subjects.event("console.>"), lines.receive)
        await people.settle()
        yield lines


Case = tuple[Endpoint[Any, Any], Callable[[list[Item]], Message], bool]
SPEC = ItemSpec.model_validate(COUNT)
FUNCTION = tasks.FunctionSpec(item_type="function", name="home")
CASES: list[Case] = [
    (environment.ENVIRONMENT_OPEN, lambda _: environment.EnvironmentControl(), False),
    (queue.ITEM_ADD, lambda _: queue.ItemAdd(item=SPEC), True),
    (queue.ITEM_ADD_BATCH, lambda _: queue.ItemAddBatch(items=[COUNT] * 4), True),
    (queue.ITEM_UPDATE, lambda q: queue.ItemUpdate(item=ItemSpec.model_validate(q[0])), True),
    (queue.ITEM_MOVE, lambda q: queue.ItemMove(uid=q[0]["item_uid"], pos_dest="back"), True),
    (queue.ITEM_MOVE_BATCH, lambda q: queue.ItemMoveBatch(uids=[q[2]["item_uid"]], pos_dest="front"), True),
    (queue.ITEM_REMOVE, lambda _: queue.ItemRemove(uid="nobody"), False),
    (queue.ITEM_REMOVE_BATCH, lambda q: queue.ItemRemoveBatch(uids=[q[0]["item_uid"], q[1]["item_uid"]]), True),
    (queue.QUEUE_MODE_SET, lambda _: queue.QueueModeSet(mode={"loop": False}), True),
    (queue.QUEUE_AUTOSTART, lambda _: queue.QueueAutostart(enable=False), True),
    (lock.LOCK, lambda _: lock.LockSet(queue=True, lock_key="the key"), True),
    (queue.QUEUE_CLEAR, lambda _: QueueChange(lock_key="another key"), False),
    (lock.UNLOCK, lambda _: lock.Unlock(lock_key="the key"), True),
    (tasks.SCRIPT_UPLOAD, lambda _: tasks.ScriptUpload(script="the script", run_in_background=True), True),
    (tasks.FUNCTION_EXECUTE, lambda _: tasks.FunctionExecute(item=FUNCTION, run_in_background=True), True),
    (tasks.ENVIRONMENT_UPDATE, lambda _: tasks.EnvironmentUpdate(run_in_background=True), True),
    (backup.RESTORE_BEGIN, lambda _: backup.RestoreBegin(replace=True), True),
    (backup.RESTORE_ADD, lambda _: backup.RestoreAdd(restore_id="another"), False),
    (
        backup.RESTORE_FINISH,
        lambda _: backup.RestoreFinish(restore_id="another", items_in_queue=0, items_in_history=0),
        False,
    ),
    (queue.QUEUE_STOP, lambda _: queue.QueueControl(), False),
    (queue.QUEUE_STOP_CANCEL, lambda _: queue.QueueControl(), True),
    (history.HISTORY_CLEAR, lambda _: history.HistoryClear(), True),
    (engine.RE_PAUSE, lambda _: engine.RePause(), True),
    (engine.RE_RESUME, lambda _: engine.ReContinue(), False),
    (engine.RE_STOP, lambda _: engine.ReContinue(), False),
    (engine.RE_ABORT, lambda _: engine.ReAbort(), False),
    (engine.RE_HALT, lambda _: engine.ReContinue(), False),
    (engine.KERNEL_INTERRUPT, lambda _: engine.KernelInterrupt(), False),
    (manager.MANAGER_TEST, lambda _: manager.ManagerTest(test_name="reserve_kernel"), False),
    (manager.MANAGER_STOP, lambda _: manager.ManagerStop(), False),
    (queue.QUEUE_START, lambda _: queue.QueueControl(), True),
    (queue.ITEM_EXECUTE, lambda _: queue.ItemExecute(item=SPEC), False),
    (environment.ENVIRONMENT_CLOSE, lambda _: environment.EnvironmentControl(), False),
    (environment.ENVIRONMENT_DESTROY, lambda _: environment.EnvironmentControl(), True),
]
"""Commands one after the other, in an open environment, and whether each is accepted."""
OF_AUTH: list[Case] = [
    (PERMISSIONS_SET, lambda _: PermissionsSet(user_group_permissions={}), False),
    (PERMISSIONS_RELOAD, lambda _: PermissionsReload(), True),
]
ENDS_THE_PROCESS = {manager.MANAGER_KILL.name}
"""Its line is looked for where there is a process to end: tests/system/test_manager_kill.py."""


def said(endpoint: Endpoint[Any, Any], *, is_accepted: bool) -> str:
    words = WORDS[endpoint.name]
    return words.done if is_accepted else words.refused


async def ask_twice(client: Client, endpoint: Endpoint[Any, Any], request: Message) -> None:
    """Send a request, and send it again as a client does that has not got the answer."""
    for _ in range(2):
        with suppress(SkybusError):
            await client.call(endpoint, request, request_id=f"of {endpoint.name}")


def test_every_command_has_a_case():
    tried = {endpoint.name for endpoint, _, _ in (*CASES, *OF_AUTH)}
    assert tried | ENDS_THE_PROCESS == set(WORDS)
    assert {name for name, words in WORDS.items() if words.done == PART_OF_ANOTHER} == {backup.RESTORE_ADD.name}


async def test_each_command_leaves_one_line_however_often_it_is_sent(
    nats: NatsServer, valkey: Valkey, house: StandIns, client: Client, lines: Lines
):
    async with queue_service(nats, valkey):
        await opened(house, client)
        await lines.until("Environment opened")
        lines.lines.clear()
        for endpoint, request, _ in CASES:
            await ask_twice(client, endpoint, request((await client.queue()).items))
        await lines.until(WORDS[CASES[-1][0].name].done)
    assert lines.of_commands() == [said(endpoint, is_accepted=accepted) for endpoint, _, accepted in CASES]
    text = "\n".join(lines.lines)
    assert "user=operator" in text
    for secret in ("the key", "another key", "the script"):
        assert secret not in text


async def test_auth_leaves_the_lines_of_permissions(nats: NatsServer, client: Client, lines: Lines):
    async with auth_queue(nats), auth(nats):
        for endpoint, request, _ in OF_AUTH:
            await ask_twice(client, endpoint, request([]))
        await lines.until(WORDS[OF_AUTH[-1][0].name].done)
    assert lines.of_commands() == [said(endpoint, is_accepted=accepted) for endpoint, _, accepted in OF_AUTH]


async def test_ten_thousand_items_are_one_line(
    nats: NatsServer, valkey: Valkey, house: StandIns, client: Client, lines: Lines
):
    async with queue_service(nats, valkey):
        await client.wait("idle")
        await client.add_items([COUNT] * 10_000)
        found = await lines.until("items added")
        assert [line for line in found if "10000 items added" in line] == [line for line in found if "added" in line]


async def test_what_cannot_be_read_is_refused_with_a_line(
    nats: NatsServer, valkey: Valkey, house: StandIns, client: Client, lines: Lines
):
    async with queue_service(nats, valkey):
        await client.wait("idle")
        with suppress(SkybusError):
            await client.bus.call_bytes(tasks.SCRIPT_UPLOAD, b'{"script": ["the script"], "lock_key": "the key"}')
        (line,) = [line for line in await lines.until("Script not uploaded") if "Script" in line]
        assert "code=invalid" in line
        assert "user=operator" in line
        assert "the script" not in line


async def test_a_command_of_which_nobody_knows_is_not_called_refused(
    nats: NatsServer, valkey: Valkey, house: StandIns, client: Client, lines: Lines
):
    house.answers_open = False
    async with queue_service(nats, valkey):
        await client.wait("idle")
        await client.open_environment(wait=False)
        found = await lines.until("Environment is opening")
    assert ["command=environment.open" in line for line in found if "not confirmed" in line] == [True]
    assert not any("not opened" in line for line in found)
    assert [begin for begin in lines.of_commands() if "Environment" in begin] == ["Environment is opening"]


async def test_the_console_says_what_became_of_items_queue_and_environment(
    nats: NatsServer, valkey: Valkey, house: StandIns, client: Client, lines: Lines
):
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_items([COUNT, {**COUNT, "name": "scan\x1b[2J"}, COUNT])
        await client.start()
        await house.finished(await house.orders.get())
        await house.finished(await house.orders.get(), "failed")
        await client.wait("idle")
        await house.become(phase=EnvironmentPhase.CLOSING)
        await house.exited()
        await lines.until("Environment closed")
    of_life = [
        begin
        for line in lines.lines
        for begin in (" ".join(line.partition("]")[2].split("=")[0].split()[:-1]),)
        if begin.startswith(("Item started", "Item finished", "Item returned", "Queue stopped", "Environment "))
    ]
    assert of_life == [
        "Environment is opening",
        "Environment opened",
        "Item started",
        "Item finished",
        "Item started",
        "Item finished",
        "Item returned to the queue",
        "Queue stopped",
        "Environment closed",
    ]
    text = "\n".join(lines.lines)
    assert "the plan ended as failed" in text
    assert r"scan\x1b[2J" in text
    assert "\x1b" not in text
