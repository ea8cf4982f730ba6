"""Whatever arrives gets an answer that names what is wrong; no service logs a traceback, none dies."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
import zmq
import zmq.asyncio

from skybus.bus.api.queue import ITEM_ADD, ItemAdd
from skybus.bus.errors import InvalidError, NotFoundError, SkybusError, TooLargeError
from tests.promises import PATIENCE
from tests.system.stack import RunningStack, stack_up

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICES = ("queue", "auth", "console", "worker", "bridge")
WHO = {"user": "visitor", "user_group": "primary"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_stack():
    """A stack with an open environment: plans and devices are known."""
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder), SKYBUS_MAX_REQUEST="4194304") as stack, stack.client() as client:
            await client.open_environment()
            yield stack


@pytest.fixture
def stack(open_stack: RunningStack):
    """The same processes are there afterwards, and none of them has logged a traceback."""
    before = {name: open_stack.pid_of(name) for name in SERVICES}
    yield open_stack
    assert {name: open_stack.pid_of(name) for name in SERVICES} == before
    assert not [name for name in SERVICES if "Traceback" in open_stack.log(name)]


async def refused(stack: RunningStack, method: str, params: dict) -> str:
    reply = await stack.ask(method, params)
    assert reply["success"] is False
    return reply["msg"]


def plan(name: str, *args, **kwargs) -> dict:
    return {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}


@pytest.mark.parametrize(
    ("item", "named"),
    [
        (plan("cuont", ["det"]), "cuont"),
        (plan("count", ["dett"]), "dett"),
        (plan("count", ["det"], nmu=3), "nmu"),
        (plan("count", ["det"], num="many"), "num"),
        (plan("scan"), "detectors"),
        ({"item_type": "plan"}, "name"),
        ({"item_type": "dance", "name": "x"}, "item_type"),
        ({"item_type": "instruction", "name": "queue_jump"}, "queue_jump"),
    ],
)
async def test_an_item_that_cannot_be_right_is_refused_on_both_ways_in(stack: RunningStack, item, named) -> None:
    assert named in await refused(stack, "queue_item_add", {"item": item, **WHO})
    async with stack.client() as client:
        with pytest.raises((InvalidError, NotFoundError), match=named):
            await client.call(ITEM_ADD, ItemAdd.model_construct(_fields_set={"item"}, item=item))


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"this is not JSON", "JSON"),
        (b"\xff\xfe\x00garbage", "JSON"),
        (b'["a", "list"]', "dict"),
        (b'{"params": {}}', "method"),
        (b'{"method": 7}', "method"),
        (b'{"method": "queue_dance"}', "queue_dance"),
        (b'{"method": "status", "params": 7}', "params"),
    ],
)
async def test_bytes_that_are_no_request_are_answered_on_0mq(stack: RunningStack, data: bytes, named: str) -> None:
    _, reply = await stack.ask_raw(data)
    assert reply["success"] is False
    assert named in reply["msg"]


@pytest.mark.parametrize("data", [b"this is not JSON", b"[1, 2]", b"\xff\xfe", b'{"item": 3}', b'{"itme": {}}'])
async def test_bytes_that_are_no_request_are_answered_on_nats(stack: RunningStack, data: bytes) -> None:
    async with stack.client() as client:
        reply = await client.bus.request_raw("sky.sim.cmd.operator.queue.item.add", data)
        assert reply.headers["Nats-Service-Error-Code"] == "invalid"


async def test_an_endpoint_that_does_not_exist_is_named(stack: RunningStack) -> None:
    async with stack.client() as client:
        with pytest.raises(SkybusError, match=r"queue\.dance"):
            await client.bus.request_raw("sky.sim.cmd.operator.queue.dance", b"{}")


async def test_a_request_beyond_the_bound_is_too_large_on_both_ways_in(stack: RunningStack) -> None:
    item = plan("count", ["det"], md={"note": "x" * 5_000_000})
    assert "bytes" in await refused(stack, "queue_item_add", {"item": item, **WHO})
    async with stack.client() as client:
        with pytest.raises(TooLargeError, match="bytes"):
            await client.call(ITEM_ADD, ItemAdd.model_validate({"item": item}))
        assert (await client.status()).items_in_queue == 0


@pytest.mark.parametrize("user", ["a.b", "a b", "a\nb", "", "*", ">"])
async def test_a_user_name_that_cannot_be_a_token_never_becomes_a_subject(stack: RunningStack, user: str) -> None:
    """On NATS the name is the connection's: a client that claims another is told so before anything is sent."""
    with pytest.raises(SkybusError, match=json.dumps(user)[1:-1].replace("\\", r"\\").replace("*", r"\*") or "user"):
        async with stack.client(user=user):
            pass


@pytest.mark.parametrize(("user", "named"), [("", "user"), (7, "user"), ("x" * 200, "user"), ("a\nb", "user")])
async def test_a_claimed_user_must_be_a_printable_name(stack: RunningStack, user, named: str) -> None:
    """Over 0MQ a name is a claim that is written down; dots and blanks are as good as in the reference."""
    request = {"item": {"item_type": "instruction", "name": "queue_stop"}, "user": user, "user_group": "primary"}
    assert named in await refused(stack, "queue_item_add", request)


GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL".ljust(64, b"\x00")
"""How a 0MQ peer begins (ZMTP 3.0)."""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: beamline\r\n\r\n",
        bytes(range(256)) * 64,
        GREETING[:20],
        GREETING + b"\x04\xff",
        GREETING + b"\x04\x26\x05READY" + b"\xff" * 40,
    ],
    ids=["port scan", "HTTP", "noise", "half a greeting", "half a handshake", "a handshake that is none"],
)
@pytest.mark.parametrize("which", ["control", "info"])
async def test_what_is_not_0mq_harms_no_socket(stack: RunningStack, which: str, data: bytes) -> None:
    host, _, port = getattr(stack, which).removeprefix("tcp://").rpartition(":")
    strangers = [await asyncio.open_connection(host, int(port)) for _ in range(50)]
    for _, writer in strangers:
        writer.write(data)
    assert (await stack.ask("status"))["manager_state"] == "idle"
    for _, writer in strangers:
        writer.transport.abort()
    assert (await stack.ask("status"))["manager_state"] == "idle"


@pytest.mark.parametrize(("which", "kind"), [("control", zmq.DEALER), ("info", zmq.XSUB)])
async def test_a_hundred_megabytes_in_one_message_end_its_connection(stack: RunningStack, which, kind: int) -> None:
    with zmq.asyncio.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        socket.connect(getattr(stack, which))
        await socket.send(b"x" * 100_000_000)
        async with asyncio.timeout(PATIENCE):
            await monitor.recv_multipart()
        socket.disable_monitor()
        monitor.close(linger=0)
    memory = psutil.Process(stack.pid_of("bridge")).memory_info().rss
    assert memory < 200_000_000
    assert (await stack.ask("status"))["manager_state"] == "idle"
