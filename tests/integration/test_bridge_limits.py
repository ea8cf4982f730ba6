"""What 0MQ clients may do can be limited: to methods, to user groups, to hosts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import zmq
from pydantic import ValidationError

from skybus.bridge.__main__ import serve
from skybus.bridge.limits import METHODS, Limits, networks
from skybus.bridge.reach import who_reaches, who_reads
from skybus.bridge.settings import BridgeSettings
from tests.integration.bus_fixtures import CannedQueue, canned_queue, service
from tests.promises import PATIENCE
from tests.servers import NatsServer, free_port

ADD = {"item": {"item_type": "plan", "name": "count", "args": [["det1"]]}, "user": "ann", "user_group": "primary"}
Ask = Callable[..., Any]


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[CannedQueue]:
    async with canned_queue(nats) as queue:
        yield queue


@pytest.fixture
def bridge(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractAsyncContextManager[Ask]]:
    """A bridge with settings as they are exported, and what asks it."""

    @asynccontextmanager
    async def run(**exported: str) -> AsyncIterator[Ask]:
        addresses = {name: f"tcp://127.0.0.1:{free_port()}" for name in ("zmq_control_addr", "zmq_info_addr")}
        for name, value in exported.items():
            monkeypatch.setenv(f"SKYBUS_{name.upper()}", value)
        settings = BridgeSettings(data_dir=nats.data_dir, **addresses)

        def ask(method: str, **params: Any) -> dict[str, Any]:
            with zmq.Context() as context, context.socket(zmq.REQ) as socket:
                socket.linger = 0
                socket.connect(settings.zmq_control_addr)
                socket.send_json({"method": method, "params": params})
                assert socket.poll(1000 * PATIENCE), "no reply"
                return json.loads(socket.recv())

        async with service(nats.make_bus("bridge"), serve, settings):
            yield lambda method, **params: asyncio.to_thread(ask, method, **params)

    return run


@pytest.mark.parametrize(
    ("methods", "refused", "allowed"),
    [
        ("read", "queue_item_add", "queue_get"),
        ("queue", "script_upload", "queue_item_add"),
        ("status, queue_item_add", "queue_get", "queue_item_add"),
        ("read,environment_open", "environment_close", "environment_open"),
        ("all", "", "script_upload"),
    ],
)
def test_methods_are_allowed_one_by_one_or_as_sets(
    monkeypatch: pytest.MonkeyPatch, methods: str, refused: str, allowed: str
):
    monkeypatch.setenv("SKYBUS_ZMQ_METHODS", methods)
    assert refused not in BridgeSettings().limits.methods
    assert allowed in BridgeSettings().limits.methods


def test_a_method_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SKYBUS_ZMQ_METHODS", "read,queue_item_ad")
    with pytest.raises(ValidationError, match=r"no method and no set of methods .* is named queue_item_ad"):
        BridgeSettings()


async def test_a_method_that_is_left_out_is_refused_with_the_fields_of_the_reference(bridge, queue: CannedQueue):
    async with bridge(zmq_methods="read") as ask:
        reply = await ask("queue_item_add", **ADD)
        status = await ask("status")
    assert reply == {
        "success": False,
        "msg": "Failed to add an item: 0MQ clients may not use 'queue_item_add' here: SKYBUS_ZMQ_METHODS leaves it out",
        "qsize": None,
        "item": ADD["item"],
    }
    assert status["manager_state"] == "idle"
    assert queue.seen == []


async def test_a_user_group_that_is_left_out_is_refused(bridge, queue: CannedQueue):
    async with bridge(zmq_user_groups="primary") as ask:
        reply = await ask("queue_item_add", **{**ADD, "user_group": "root"})
        permissions = await ask("permissions_set", user_group_permissions={})
        accepted = await ask("queue_item_add", **ADD)
    assert reply["success"] is False
    assert "may not act for user group 'root' here: SKYBUS_ZMQ_USER_GROUPS leaves it out" in reply["msg"]
    assert "may not act for user group 'root'" in permissions["msg"]
    assert accepted["success"] is True


async def test_a_host_that_is_left_out_is_refused(bridge, queue: CannedQueue):
    async with bridge(zmq_peers="10.1.2.0/24, 192.168.7.7") as ask:
        reply = await ask("queue_item_add", **ADD)
    assert reply == {
        "success": False,
        "msg": "0MQ clients at 127.0.0.1 may not send requests here: SKYBUS_ZMQ_PEERS leaves them out",
    }
    assert queue.seen == []


async def test_a_host_that_is_named_is_answered(bridge, queue: CannedQueue):
    async with bridge(zmq_peers="127.0.0.0/8") as ask:
        assert (await ask("queue_item_add", **ADD))["success"] is True


@pytest.mark.parametrize(("peers", "arrives"), [("127.0.0.1", True), ("10.1.2.3", False)])
async def test_only_hosts_that_are_named_read_the_info_socket(
    nats: NatsServer, queue: CannedQueue, monkeypatch: pytest.MonkeyPatch, peers: str, arrives: bool
):
    monkeypatch.setenv("SKYBUS_ZMQ_PEERS", peers)
    addresses = {name: f"tcp://127.0.0.1:{free_port()}" for name in ("zmq_control_addr", "zmq_info_addr")}
    settings = BridgeSettings(data_dir=nats.data_dir, **addresses)
    async with service(nats.make_bus("bridge"), serve, settings):
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            ends = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
            with socket.get_monitor_socket(ends) as monitor:
                socket.subscribe("")
                socket.connect(settings.zmq_info_addr)
                event = await asyncio.to_thread(monitored, monitor)
                socket.disable_monitor()
    assert (event == zmq.EVENT_HANDSHAKE_SUCCEEDED) == arrives


def monitored(monitor: zmq.Socket) -> int:
    assert monitor.poll(1000 * PATIENCE), "nothing happens"
    return int.from_bytes(monitor.recv_multipart()[0][:2], "little")


@pytest.mark.parametrize(
    ("address", "limits", "has_key", "words"),
    [
        ("tcp://127.0.0.1:60615", Limits(), False, ["every account of this machine", "run any code", "ipc://", "key"]),
        ("tcp://*:60615", Limits(), False, ["everybody who reaches", "run any code", "SKYBUS_ZMQ_PEERS"]),
        ("tcp://0.0.0.0:60615", Limits(), True, ["everybody who has the public key"]),
        ("tcp://10.0.0.1:1", Limits(methods=frozenset({"status"})), False, ["may use 1 of"]),
    ],
)
def test_a_sentence_says_who_reaches_a_tcp_socket_and_how_to_close_it(
    address: str, limits: Limits, has_key: bool, words: list[str]
):
    said = who_reaches(address, limits, has_key=has_key)
    assert said is not None
    assert [word for word in words if word not in said] == []


def test_a_sentence_says_who_reads_the_info_socket():
    said = who_reads("tcp://*:60625", Limits(peers=networks("10.1.2.0/24")))
    assert said == "everybody who reaches tcp://*:60625 from 10.1.2.0/24 may read what plans print"


def test_nothing_is_said_of_socket_files():
    assert who_reaches("ipc:///run/skybus/zmq-control.sock", Limits(), has_key=False) is None
    assert who_reads("ipc:///run/skybus/zmq-info.sock", Limits()) is None


def test_what_only_reads_has_no_method_that_changes_something(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SKYBUS_ZMQ_METHODS", "read")
    assert not any(METHODS[name].endpoint.changes for name in BridgeSettings().limits.methods)
