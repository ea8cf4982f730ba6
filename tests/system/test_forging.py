"""Nobody acts in another's name: the attempts of the laboratory, against the stack as `skybus up` starts it.

The attacker is a user of PEOPLE (`bridge`, with its own password) or plan code (`environment`, in PLANS), who wants a
command to be done as `operator`. After each attempt a real request of the operator finds an empty queue.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from skybus.bus.api.queue import QUEUE_GET, QueueGet
from tests.promises import PATIENCE
from tests.system.stack import RunningStack, stack_up

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGED = {"Nats-Request-Info": json.dumps({"acc": "PEOPLE", "user": "operator", "host": "127.0.0.1"})}
TARGET = "sky.sim.cmd.operator.queue.item.add"
ITEM = json.dumps({"item": {"item_type": "instruction", "name": "queue_stop"}}).encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack():
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder)) as stack:
            yield stack


def credentials(stack: RunningStack, name: str) -> dict:
    return json.loads((stack.data_dir / "credentials" / f"{name}.json").read_text())


def url(stack: RunningStack) -> str:
    return json.loads((stack.data_dir / "listen.json").read_text())["nats"]


@asynccontextmanager
async def connected(stack: RunningStack, name: str):
    known, errors = credentials(stack, name), asyncio.Queue()

    async def on_error(error: Exception) -> None:
        errors.put_nowait(str(error))

    connection = await nats.connect(
        url(stack),
        user=None if known.get("nkey_seed") else known["user"],
        password=known.get("password"),
        nkeys_seed_str=known.get("nkey_seed"),
        inbox_prefix=f"_INBOX.{name}",
        error_cb=on_error,
        allow_reconnect=False,
    )
    try:
        yield connection, errors
    finally:
        await connection.close()


async def queue_is_empty(stack: RunningStack) -> bool:
    async with stack.client() as client:
        return (await client.call(QUEUE_GET, QueueGet())).qsize == 0


NOT_FOR_CLIENTS = [
    TARGET,
    "sky.sim.evt.status",
    "sky.sim.console.queue",
    "sky.sim.int.auth.check",
    "sky.sim.int.environment.run",
    "$KV.STATE_sim.status",
    "$JS.API.STREAM.DELETE.CONSOLE_sim",
    "$JS.API.CONSUMER.CREATE.CONSOLE_sim",
]
NOT_FOR_PEOPLE = ["sky.sim.console.worker.-", "sky.sim.int.life.report", "sky.sim.doc.start.x", "sky.sim.int.state"]


@pytest.mark.parametrize(
    ("who", "subject"),
    [("bridge", subject) for subject in NOT_FOR_CLIENTS + NOT_FOR_PEOPLE]
    + [("environment", subject) for subject in NOT_FOR_CLIENTS if subject != "sky.sim.int.environment.run"],
)
async def test_the_server_refuses_what_is_not_ones_own(stack: RunningStack, who: str, subject: str) -> None:
    async with connected(stack, who) as (connection, errors):
        await connection.publish(subject, ITEM, reply=connection.new_inbox())
        error = await asyncio.wait_for(errors.get(), PATIENCE)
        assert "permissions violation for publish" in error.lower()
    assert await queue_is_empty(stack)


@pytest.mark.parametrize(
    "ask",
    [
        "sky.sim.cmd.bridge.status.get",
        "sky.sim.cmd.bridge.queue.get",
        "$JS.API.DIRECT.GET.KV_STATE_sim.$KV.STATE_sim.status",
        "$JS.API.DIRECT.GET.CONSOLE_sim",
    ],
)
async def test_an_answer_sent_to_a_command_subject_is_no_command(stack: RunningStack, ask: str) -> None:
    async with connected(stack, "bridge") as (connection, _):
        body = b'{"last_by_subj": "sky.sim.console.queue"}' if ask.endswith("CONSOLE_sim") else b"{}"
        await connection.publish(ask, body, reply=TARGET, headers=FORGED)
        await connection.request("sky.sim.cmd.bridge.ping", timeout=PATIENCE)  # by now the answer has gone its way
    assert await queue_is_empty(stack)


async def test_a_stored_message_with_a_forged_header_is_no_command(stack: RunningStack) -> None:
    async with connected(stack, "environment") as (plans, _), connected(stack, "bridge") as (people, _):
        stored = await plans.jetstream().publish("sky.sim.doc.start.evil", ITEM, headers=FORGED)
        query = json.dumps({"seq": stored.seq}).encode()
        await people.publish("$JS.API.DIRECT.GET.DOCS_sim", query, reply=TARGET)
        await plans.publish("$JS.API.DIRECT.GET.DOCS_sim", query, reply=TARGET)
        await people.request("sky.sim.cmd.bridge.ping", timeout=PATIENCE)
        await plans.jetstream().publish("sky.sim.doc.start.after", b"{}")
    assert await queue_is_empty(stack)


@pytest.mark.parametrize(
    "header",
    [
        b"Nats-Request-Info: %s",
        b"Nats-Request-Info: x\r\nNats-Request-Info: %s",
        b" Nats-Request-Info: %s",
        b"Nats-Request-Info:\t%s",
        b"Nats-Request-Info : %s",
        b"nats-request-info: %s",
        b"X: y\nNats-Request-Info: %s",
    ],
)
async def test_a_forged_header_changes_nobody_into_the_operator(stack: RunningStack, header: bytes) -> None:
    """Sent as raw bytes on the attacker's own subject: the item may be added, but never as the operator's."""
    known = credentials(stack, "bridge")
    host, port = url(stack).removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()
    login = json.dumps({"user": known["user"], "pass": known["password"], "headers": True, "verbose": False})
    head = b"NATS/1.0\r\n" + header % FORGED["Nats-Request-Info"].encode() + b"\r\n\r\n"
    body = head + ITEM
    command = b"HPUB sky.sim.cmd.bridge.queue.item.add _INBOX.bridge.x %d %d\r\n%s\r\n" % (len(head), len(body), body)
    writer.write(b"CONNECT %s\r\nSUB _INBOX.bridge.> 1\r\n%sPING\r\n" % (login.encode(), command))
    reply = await asyncio.wait_for(reader.readuntil(b"PONG\r\n"), PATIENCE)
    while b"MSG" not in reply and b"-ERR" not in reply:
        reply += await asyncio.wait_for(reader.read(4096), PATIENCE)
    writer.close()
    assert b'"user":"operator"' not in reply
    assert await queue_is_empty(stack)


async def test_a_request_that_has_not_crossed_the_border_is_denied(stack: RunningStack) -> None:
    async with connected(stack, "console") as (connection, _):
        reply = await connection.request(TARGET, ITEM, timeout=PATIENCE)
        assert reply.headers["Nats-Service-Error-Code"] == "denied"
    assert await queue_is_empty(stack)
