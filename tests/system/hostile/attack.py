"""What an attack is, and what it gets to work with: connections of a person, of plan code, and of a 0MQ client."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import nats
import nats.errors
import zmq
import zmq.asyncio
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from skybus.bus.settings import CREDENTIALS_DIR, LISTEN_FILE, Credentials, Listen

PERSON = "mallory"
"""Who attacks over NATS; a user of the group `primary`."""
PATIENCE = 15.0
"""Seconds that an attacker waits for an answer."""
WRONG = "wrong: "
"""Before an outcome that must not be."""
_PENDING = 1 << 30
"""Bytes that an attacker's connection may have unsent."""


class Over(StrEnum):
    """By which way an attack comes."""

    PERSON = "NATS, a person"
    PLAN = "NATS, plan code"
    ZMQ = "0MQ, anonymous"


@dataclass
class Target:
    """The stack that is attacked, as an attacker finds it."""

    data_dir: Path
    random: random.Random
    outcomes: Counter[str] = field(default_factory=Counter)
    """How often an attack was answered, refused with which code, or cut off."""

    @cached_property
    def listen(self) -> Listen:
        """Where the stack listens."""
        return Listen.model_validate_json((self.data_dir / LISTEN_FILE).read_bytes())

    @property
    def nats(self) -> tuple[str, int]:
        """Host and port of the NATS server."""
        return _host_and_port(self.listen.nats)

    @property
    def control(self) -> tuple[str, int]:
        """Host and port of the 0MQ control socket."""
        return _host_and_port(self.listen.zmq_control)

    @property
    def info(self) -> tuple[str, int]:
        """Host and port of the 0MQ info socket."""
        return _host_and_port(self.listen.zmq_info)

    def credentials(self, name: str) -> Credentials:
        """Of a user of the stack."""
        return Credentials.model_validate_json((self.data_dir / CREDENTIALS_DIR / f"{name}.json").read_bytes())

    def person(self) -> AbstractAsyncContextManager[Connection]:
        """Connect as the person."""
        return self._connected(PERSON)

    def plan_code(self) -> AbstractAsyncContextManager[Connection]:
        """Connect with the credentials that plan code can read."""
        return self._connected("environment")

    @asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[Connection]:
        known = self.credentials(name)
        connection = await nats.connect(
            self.listen.nats,
            user=known.user if known.password else None,
            password=known.password,
            nkeys_seed_str=known.nkey_seed,
            inbox_prefix=f"_INBOX.{name}",
            error_cb=self._note_error,
            allow_reconnect=False,
            pending_size=_PENDING,
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def _note_error(self, error: Exception) -> None:
        self.outcomes[type(error).__name__] += 1

    async def ask(
        self, connection: Connection, endpoint: str, body: bytes = b"{}", head: Mapping[str, str] | None = None
    ) -> Any:
        """Send a request of the person, and return what the answer says; nothing if it is no JSON or refused."""
        subject = f"sky.{self.listen.instrument}.cmd.{PERSON}.{endpoint}"
        try:
            reply = await connection.request(subject, body, timeout=PATIENCE, headers=dict(head) if head else None)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            self.outcomes[type(error).__name__] += 1
            return None
        return self._read(reply)

    def _read(self, reply: Msg) -> Any:
        code = (reply.headers or {}).get("Nats-Service-Error-Code")
        self.outcomes[code or "answered"] += 1
        return json.loads(reply.data) if reply.data and not code else None

    async def ask_all(
        self, connection: Connection, endpoint: str, bodies: Iterable[bytes], head: Mapping[str, str] | None = None
    ) -> None:
        """Send requests all at once, and wait for their answers."""
        await asyncio.gather(*(self.ask(connection, endpoint, body, head) for body in bodies))

    @contextmanager
    def zmq(self, kind: int, address: str | None = None, **options: int) -> Iterator[zmq.asyncio.Socket]:
        """Connect a 0MQ socket, by default to the control socket."""
        with zmq.asyncio.Context() as context, context.socket(kind) as sock:
            sock.linger = 0
            for name, value in options.items():
                setattr(sock, name, value)
            sock.connect(address or self.listen.zmq_control)
            yield sock

    async def ask_zmq(self, bodies: list[bytes]) -> None:
        """Send requests over one 0MQ connection, all at once, and wait for their answers."""
        with self.zmq(zmq.DEALER, sndhwm=0) as sock:
            for body in bodies:
                await sock.send_multipart([b"", body])
            try:
                async with asyncio.timeout(PATIENCE):
                    for _ in bodies:
                        _, reply = await sock.recv_multipart()
                        self.outcomes["answered" if json.loads(reply).get("success", True) else "refused"] += 1
            except TimeoutError:
                self.outcomes["no answer"] += 1


class Attack(ABC):
    """One kind of attack; its docstring says what it sends."""

    name: ClassVar[str]
    over: ClassVar[Over]

    @abstractmethod
    async def strike(self, target: Target) -> None:
        """Attack once."""


def login(target: Target, password: str | None = None) -> bytes:
    """The line with which a connection of the person begins."""
    known = target.credentials(PERSON)
    words = {"user": known.user, "pass": password or known.password, "headers": True, "verbose": False}
    return b"CONNECT " + json.dumps({**words, "protocol": 1, "no_responders": True}).encode() + b"\r\n"


def dial(address: tuple[str, int]) -> socket.socket:
    """Connect without any protocol."""
    return socket.create_connection(address, timeout=PATIENCE)


def item(**more: Any) -> dict[str, Any]:
    """An item that may run."""
    return {"item_type": "plan", "name": "paced", "kwargs": {"num": 1, "period": 0.1}, **more}


def as_json(value: Any) -> bytes:
    """Write a body."""
    return json.dumps(value).encode()


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0
