"""Ports that another program binds first: nobody takes its server for ours, and the next port is tried."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from skybus.bridge.binding import bind
from skybus.bus.errors import UnavailableError
from skybus.bus.port_holder import port_holder
from skybus.bus.subjects import Subjects
from skybus.stack import datadir
from skybus.stack.nats_child import lost_its_port, nats_child
from skybus.stack.ports import LastPorts
from skybus.stack.servers import next_free_port, require_free_port
from tests.servers import NatsServer


@contextmanager
def listener() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


async def test_the_nats_server_of_another_stack_is_not_taken_for_ours(nats: NatsServer, tmp_path: Path) -> None:
    held = datadir.take(tmp_path)
    try:
        with pytest.raises(UnavailableError) as refused:
            await nats_child(held, Subjects("sim"), nats.port).start()
    finally:
        held.release()
    assert lost_its_port(refused.value)


def test_the_bridge_names_the_process_that_has_its_port() -> None:
    in_use = pytest.raises(UnavailableError, match=r"in use by process \d+ \(")
    with listener() as taken, zmq.Context() as context, context.socket(zmq.ROUTER) as sock, in_use:
        bind(sock, f"tcp://127.0.0.1:{taken}", "control")


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_the_name_of_the_process() -> None:
    with listener() as taken:
        assert port_holder(taken).startswith("process ")
        with pytest.raises(UnavailableError, match=rf"port {taken} .* is taken by process \d+ \("):
            require_free_port(taken)
    assert port_holder(taken) == "another program"


def test_nats_looks_for_a_port_beside_those_that_were_asked_for() -> None:
    with listener() as taken:
        assert next_free_port(taken, {taken + 1}) > taken + 1


@pytest.mark.parametrize("written", ["", "[]", '{"nats": "x"}', '{"nats": 70000}'])
def test_a_file_of_ports_that_makes_no_sense_counts_for_nothing(tmp_path: Path, written: str) -> None:
    LastPorts(nats=4444).write(tmp_path)
    assert LastPorts.read(tmp_path) == LastPorts(nats=4444)
    (tmp_path / "ports.json").write_text(written)
    assert LastPorts.read(tmp_path) == LastPorts()
