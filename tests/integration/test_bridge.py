"""The bridge: 0MQ clients in front, the bus behind; the queue service is the canned one of bus_fixtures."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from zmq.utils.garbage import gc

from skybus.bridge.__main__ import serve
from skybus.bridge.methods import SPOKEN
from skybus.bridge.settings import BridgeSettings
from skybus.bus.api.status import BEYOND_REFERENCE
from skybus.console.__main__ import serve as serve_console
from skybus.console.settings import ConsoleSettings
from tests.integration.bus_fixtures import CannedQueue, canned_queue, service
from tests.promises import PATIENCE
from tests.servers import NatsServer, free_port

USER = {"user": "Ann Other", "user_group": "primary"}
PLAN = {"item_type": "plan", "name": "count", "args": [["det1"]]}


@dataclass
class Zmq:
    """Clients of the bridge, in threads."""

    context: zmq.Context
    control: str
    info: str

    async def send(self, *frames: bytes, kind: int = zmq.REQ) -> bytes:
        return await asyncio.to_thread(self._send, frames, kind)

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return json.loads(await self.send(json.dumps({"method": method, "params": params}).encode()))

    def subscribe(self, *topics: str) -> zmq.Socket:
        """The topics are subscribed to in this order: when the last one comes, the others do."""
        socket = self.context.socket(zmq.SUB)
        socket.connect(self.info)
        for topic in topics:
            socket.subscribe(topic)
        return socket

    def _send(self, frames: tuple[bytes, ...], kind: int) -> bytes:
        with self.context.socket(kind) as socket:
            socket.linger = 0
            socket.connect(self.control)
            socket.send_multipart(frames)
            assert socket.poll(100_000), f"no reply to {frames[0][:100]!r}"
            return socket.recv_multipart()[-1]


async def receive(socket: zmq.Socket) -> Any:
    def wait() -> bytes:
        assert socket.poll(100_000), "nothing was published"
        return socket.recv_multipart()[1]

    return json.loads(await asyncio.to_thread(wait))


def spoken(queue: CannedQueue) -> dict[str, Any]:
    """The status as clients of the reference read it."""
    return {**queue.status.model_dump(exclude=BEYOND_REFERENCE), "msg": SPOKEN}


def settings_for(nats: NatsServer, **more: Any) -> BridgeSettings:
    addresses = {
        "zmq_control_addr": f"tcp://127.0.0.1:{free_port()}",
        "zmq_info_addr": f"tcp://127.0.0.1:{free_port()}",
    }
    return BridgeSettings(data_dir=nats.data_dir, **{**addresses, **more})


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)
    gc.stop()  # the thread that the bridge's large messages have started


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[CannedQueue]:
    async with canned_queue(nats) as queue:
        yield queue


@pytest.fixture
async def clients(nats: NatsServer, queue: CannedQueue, context: zmq.Context) -> AsyncIterator[Zmq]:
    settings = settings_for(nats)
    async with service(nats.make_bus("bridge"), serve, settings):
        yield Zmq(context, settings.zmq_control_addr, settings.zmq_info_addr)


async def test_status_has_the_fields_of_the_reference_and_no_others(clients: Zmq, queue: CannedQueue):
    for method in ("status", "ping"):
        reply = await clients.ask(method, anything="goes")
        assert reply == spoken(queue)


async def test_item_is_added_in_the_name_that_the_client_claims(clients: Zmq, queue: CannedQueue):
    reply = await clients.ask("queue_item_add", item=PLAN, pos="front", **USER)
    assert reply == {"success": True, "msg": "", "qsize": 1, "item": queue.items[0]}
    request = queue.seen[0]
    assert (request.user, request.user_group, request.pos) == ("Ann Other", "primary", "front")
    assert queue.users == ["bridge"]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({**USER}, "request contains no item info"),
        ({"item": [], **USER}, "item parameter must have type 'dict'"),
        ({"item": {"name": "count"}, **USER}, "'item_type' key is not found"),
        ({"item": {**PLAN, "item_type": "x"}, **USER}, "unsupported 'item_type' value: 'x'"),
        ({"item": PLAN, "user": "Ann"}, "user group is not specified"),
        ({"item": PLAN, "user_group": "primary"}, "user name is not specified"),
        ({"item": {**PLAN, "name": "unknown"}, **USER}, "Plan 'unknown' is not in the list of allowed plans"),
        ({"item": PLAN, "typo": 1, **USER}, "unsupported parameters: 'typo'"),
        ({"item": {**PLAN, "args": 1}, **USER}, "item.args"),
        ({"item": PLAN, "pos": {"a": 1}, **USER}, "pos"),
    ],
)
async def test_refused_item_comes_back_with_the_reason(clients: Zmq, params: dict[str, Any], reason: str):
    reply = await clients.ask("queue_item_add", **params)
    assert reply["success"] is False
    assert reply["msg"].startswith("Failed to add an item: ")
    assert reason in reply["msg"]
    assert reply["qsize"] is None
    assert reply["item"] == params.get("item")


async def test_refused_batch_says_which_items_and_why(clients: Zmq, queue: CannedQueue):
    queue.items = [PLAN]
    items = [PLAN, {}, {"item_type": "plan"}]
    reply = await clients.ask("queue_item_add_batch", items=items, **USER)
    assert reply["msg"] == "Failed to add all items: validation of 2 out of 3 submitted items failed"
    assert (reply["success"], reply["items"], reply["qsize"]) == (False, items, 1)
    assert [result["success"] for result in reply["results"]] == [True, False, False]
    assert "'item_type' key is not found" in reply["results"][1]["msg"]
    accepted = await clients.ask("queue_item_add_batch", items=[PLAN], **USER)
    assert accepted == {
        "success": True,
        "msg": "",
        "qsize": 1,
        "items": [PLAN],
        "results": [{"success": True, "msg": "no name"}],
    }


@pytest.mark.parametrize(
    ("method", "params", "reply"),
    [
        ("queue_get", {"x": 1}, {"items": [], "running_item": {}, "plan_queue_uid": ""}),
        ("queue_item_remove", {"uid": "u"}, {"item": {}, "qsize": None}),
        ("queue_item_move_batch", {}, {"items": [], "qsize": None}),
        ("plans_allowed", {}, {"plans_allowed": {}, "plans_allowed_uid": None}),
        ("devices_existing", {"user_group": "a"}, {"devices_existing": {}, "devices_existing_uid": None}),
        ("re_runs", {"option": "odd"}, {"run_list": [], "run_list_uid": ""}),
        ("history_clear", {"size": "ab"}, {}),
        ("queue_mode_set", {"mode": {"loop": 10}}, {}),
        ("queue_autostart", {"enable": 50}, {}),
        ("re_pause", {"option": "now"}, {}),
    ],
)
async def test_refusal_has_the_fields_of_the_reference(clients: Zmq, method: str, params: dict[str, Any], reply: dict):
    answer = await clients.ask(method, **params)
    assert answer.pop("success") is False
    assert answer.pop("msg")
    assert answer == reply


async def test_prefix_stands_before_bad_parameters_but_not_before_a_wrong_state(clients: Zmq):
    assert (await clients.ask("re_abort"))["msg"] == "RE Manager is not paused: current state is 'idle'"
    assert (await clients.ask("re_abort", x=1))["msg"].startswith("Error: API request contains unsupported")
    assert (await clients.ask("queue_start")) == {"success": True, "msg": ""}


async def test_runs_have_the_fields_of_the_reference(clients: Zmq):
    reply = await clients.ask("re_runs")
    assert reply["run_list"] == [{"uid": "run-1", "scan_id": 1, "is_open": True, "exit_status": None}]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"", "Failed to decode the request: JSON decode error:"),
        (b'{"method":', "Failed to decode the request: JSON decode error:"),
        (b"\xff\xfe\x00\x80\x00", "Failed to decode the request: JSON decode error:"),
        (b"[" * 200_000, "Failed to decode the request: JSON decode error:"),
        (b"1" * 10_000, "Failed to decode the request: JSON decode error:"),
        (b"[1]", "Incorrect request type: <class 'list'>"),
        (b'{"met": "status"}', "Invalid request format: method is not specified: {'met': 'status'}"),
        (b'{"method": "nonsense"}', "Unknown method 'nonsense'"),
        (b'{"method": ["a"]}', "Unknown method ['a']"),
        (b'{"method": "status", "id": 1}', "unexpected keys ['id']"),
        (b'{"method": "queue_get", "params": [1]}', "'params' must be a dictionary"),
        (b'{"method": "queue_get", "params": {"\\ud800": 1}}', "unsupported parameters"),
    ],
)
async def test_bad_request_is_named_and_nothing_dies(clients: Zmq, request_: bytes, reason: str):
    reply = json.loads(await clients.send(request_))
    assert reply["success"] is False
    assert reason in reply["msg"]
    assert (await clients.ask("status"))["manager_state"] == "idle"


async def test_message_with_too_many_or_too_few_parts_is_named(clients: Zmq):
    two = json.loads(await clients.send(b"{}", b"{}"))
    assert "one message part is expected, not 2" in two["msg"]
    none = json.loads(await clients.send(b"", kind=zmq.DEALER))
    assert "one message part is expected, not 0" in none["msg"]
    bare = json.loads(await clients.send(b'{"method": "status"}', kind=zmq.DEALER))
    assert bare["manager_state"] == "idle"


async def test_request_larger_than_the_bound_is_refused_with_its_size(clients: Zmq, queue: CannedQueue):
    queue.bus.max_request = 4 << 20
    reply = await clients.ask("queue_item_add", item={**PLAN, "args": ["x" * 5_000_000]}, **USER)
    assert "5,000," in reply["msg"]
    assert "SKYBUS_MAX_REQUEST" in reply["msg"]
    assert reply["success"] is False


async def test_reply_larger_than_a_message_arrives(clients: Zmq, queue: CannedQueue):
    queue.items = [{"item_uid": str(i), "kwargs": {"text": "x" * 1000}} for i in range(6000)]
    reply = await clients.ask("queue_get")
    assert reply["items"] == queue.items


async def test_numbers_that_json_does_not_know_pass_unchanged(clients: Zmq, queue: CannedQueue):
    odd = {"big": 2**70, "nan": float("nan"), "inf": float("inf")}
    await clients.ask("queue_item_add", item={**PLAN, "kwargs": odd}, **USER)
    seen = queue.seen[0].item.kwargs
    assert (seen["big"], seen["inf"]) == (2**70, float("inf"))
    assert seen["nan"] != seen["nan"]
    queue.items = [{"kwargs": {"big": 2**70}}]
    assert (await clients.ask("queue_get"))["items"] == queue.items


async def test_slow_answer_keeps_nobody_else_waiting(clients: Zmq, queue: CannedQueue):
    queue.slow = True
    slow = [asyncio.create_task(clients.ask("queue_get")) for _ in range(5)]
    assert (await clients.ask("status"))["manager_state"] == "idle"
    queue.release.set()
    assert all(reply["success"] for reply in await asyncio.gather(*slow))


async def test_client_that_went_away_does_no_harm(clients: Zmq, queue: CannedQueue):
    queue.slow = True
    with clients.context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(clients.control)
        socket.send(b'{"method": "queue_get"}')
        await queue.holds.wait()
        assert (await clients.ask("status"))["manager_state"] == "idle"
    queue.release.set()
    assert (await clients.ask("queue_get"))["success"]


async def test_without_the_queue_service_the_reply_says_so(nats: NatsServer, context: zmq.Context):
    settings = settings_for(nats)
    async with service(nats.make_bus("bridge"), serve, settings):
        clients = Zmq(context, settings.zmq_control_addr, settings.zmq_info_addr)
        reply = await clients.ask("queue_get")
    assert reply["success"] is False
    assert "no service answers" in reply["msg"]


async def test_a_request_waits_for_a_service_that_is_just_being_started(nats: NatsServer, context: zmq.Context):
    settings = settings_for(nats)
    async with service(nats.make_bus("bridge"), serve, settings):
        clients = Zmq(context, settings.zmq_control_addr, settings.zmq_info_addr)
        asking = asyncio.create_task(clients.ask("queue_get"))
        async with canned_queue(nats):
            reply = await asking
    assert reply["success"] is True


async def test_without_the_queue_service_status_is_met_with_silence(nats: NatsServer, context: zmq.Context):
    """A client of the reference reads the reply as a status without looking whether it is a refusal."""
    settings = settings_for(nats)
    async with service(nats.make_bus("bridge"), serve, settings):
        with context.socket(zmq.DEALER) as socket:
            socket.connect(settings.zmq_control_addr)
            for method in ("status", "ping", "queue_get"):
                socket.send_multipart([b"", json.dumps({"method": method}).encode()])
            first = await receive(socket)
            socket.send_multipart([b"", b'{"method": "queue_get"}'])
            second = await receive(socket)
    assert first == second
    assert first["items"] == []


async def test_a_status_that_is_asked_for_while_the_bridge_connects_is_answered(
    nats: NatsServer, queue: CannedQueue, context: zmq.Context
):
    """What changes something is refused at once: its client may have given up when the bridge has connected."""
    settings, bus, refused = settings_for(nats), nats.make_bus("bridge"), list[dict[str, Any]]()
    with context.socket(zmq.DEALER) as socket:
        socket.connect(settings.zmq_control_addr)

        async def ask(_: object) -> None:
            for method in ("status", "queue_start"):
                socket.send_multipart([b"", json.dumps({"method": method}).encode()])
            refused.append(await receive(socket))

        bus.on_connect.append(ask)
        async with service(bus, serve, settings):
            status = await receive(socket)
    assert refused[0]["success"] is False
    assert status == spoken(queue)


async def test_without_nats_the_reply_says_so_and_service_goes_on_afterwards(
    clients: Zmq, nats: NatsServer, queue: CannedQueue
):
    with clients.subscribe("QS_Info") as published:
        await receive(published)
        nats.stop()
        reply = await clients.ask("queue_get")
        assert reply["success"] is False
        assert "NATS" in reply["msg"]
        queue.status = queue.status.model_copy(update={"status_uid": "again"})
        await nats.start()
        async with asyncio.timeout(PATIENCE):
            while (await receive(published))["msg"]["status"]["status_uid"] != "again":
                pass
    assert (await clients.ask("status"))["manager_state"] == "idle"


async def test_status_is_published_on_each_change_and_every_second(clients: Zmq, queue: CannedQueue):
    with clients.subscribe("QS_Info") as published:
        first = await receive(published)
        assert first["msg"]["status"] == spoken(queue)
        await queue.push(items_in_queue=7)
        async with asyncio.timeout(PATIENCE):
            message = first
            while message["msg"]["status"]["items_in_queue"] != 7:
                message = await receive(published)
        assert message["time"] > first["time"]
        assert (await receive(published))["msg"]["status"]["items_in_queue"] == 7


async def test_console_output_is_published(nats: NatsServer, queue: CannedQueue, context: zmq.Context):
    settings = settings_for(nats)
    console = service(nats.make_bus("console"), serve_console, ConsoleSettings(data_dir=nats.data_dir))
    async with console, service(nats.make_bus("bridge"), serve, settings), nats.bus("environment") as plans:
        clients = Zmq(context, settings.zmq_control_addr, settings.zmq_info_addr)
        with clients.subscribe("QS_Console", "QS_Info") as published:
            await receive(published)
            for i in range(50):
                subject = plans.subjects.console("worker.item")
                await plans.connection.publish(subject, f"line {i}\n".encode(), headers={"Sky-Time": f"{i}.5"})
            messages = []
            while len(messages) < 50:
                message = await receive(published)
                if isinstance(message["msg"], str):  # no status
                    messages.append(message)
    assert messages == [{"time": i + 0.5, "msg": f"line {i}\n"} for i in range(50)]


async def test_msgpack_is_spoken_where_it_is_set(nats: NatsServer, queue: CannedQueue, context: zmq.Context):
    settings = settings_for(nats, zmq_encoding="msgpack")
    async with service(nats.make_bus("bridge"), serve, settings):
        clients = Zmq(context, settings.zmq_control_addr, settings.zmq_info_addr)
        status = msgpack.unpackb(await clients.send(msgpack.packb({"method": "status"}) or b""))
        bad = msgpack.unpackb(await clients.send((msgpack.packb({"a": "b"}) or b"")[:-1]))
    assert status["manager_state"] == "idle"
    assert "MSGPACK decode error: Unpack failed: incomplete input" in bad["msg"]


async def test_requests_are_encrypted_where_a_key_is_set(nats: NatsServer, queue: CannedQueue, context: zmq.Context):
    public, private = zmq.curve_keypair()
    settings = settings_for(nats, zmq_private_key=private.decode())
    async with service(nats.make_bus("bridge"), serve, settings):
        with context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = public
            socket.connect(settings.zmq_control_addr)
            socket.send(b'{"method": "status"}')
            assert await asyncio.to_thread(socket.poll, 10_000)
            assert json.loads(socket.recv())["manager_state"] == "idle"


async def run_bridge(nats: NatsServer, control: str, info: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "skybus-bridge"),
        env={
            **os.environ,
            "SKYBUS_DATA_DIR": str(nats.data_dir),
            "SKYBUS_ZMQ_CONTROL_ADDR": control,
            "SKYBUS_ZMQ_INFO_ADDR": info,
        },
        stderr=subprocess.PIPE,
    )


async def test_taken_address_ends_the_process_with_a_sentence(nats: NatsServer, context: zmq.Context):
    with context.socket(zmq.REP) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        process = await run_bridge(nats, f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{free_port()}")
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on tcp://127.0.0.1:{port}" in errors.decode()
    assert "SKYBUS_ZMQ_CONTROL_ADDR" in errors.decode()
    assert "Traceback" not in errors.decode()
