"""The auth service as a real process, with stand-ins for the environment and the queue service."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import (
    CATALOG_UIDS,
    ENVIRONMENT_CATALOG,
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    ITEMS_CHECK,
    LOCK_CHECK,
    CatalogBytes,
    CatalogPart,
    EnvironmentPhase,
    EnvironmentState,
    ItemsCheck,
    LockCheck,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import LockedError
from skybus.bus.messages import Empty, Nothing, decode
from skybus.bus.service import Handler, Service
from tests.promises import PATIENCE
from tests.servers import NatsServer, running

FLAGS = {"is_readable": True, "is_movable": False, "is_flyable": False}
KINDS = {"POSITIONAL_OR_KEYWORD": 1, "KEYWORD_ONLY": 3}


def _parameter(name: str, type_: str, kind: str = "POSITIONAL_OR_KEYWORD", **more: str) -> dict[str, Any]:
    return {"name": name, "kind": {"name": kind, "value": KINDS[kind]}, "annotation": {"type": type_}, **more}


def _plan(name: str) -> dict[str, Any]:
    detectors = _parameter("detectors", "collections.abc.Sequence[__READABLE__]")
    number = _parameter("num", "int | None", default="1")
    delay = _parameter("delay", "float | collections.abc.Iterable[float]", default="0.0")
    md = _parameter("md", "dict[str, typing.Any] | None", "KEYWORD_ONLY", default="None")
    return {"name": name, "parameters": [detectors, number, delay, md]}


PLANS = {"count": _plan("count"), "_secret": _plan("_secret")}
DEVICES = {"det": {**FLAGS, "components": {"val": FLAGS}}, "_hidden": FLAGS}


@dataclass
class StandInEnvironment:
    """Stands in for the environment process: as its user it offers a catalogue, and it can do nothing else."""

    bus: Bus
    plans: dict[str, Any] = field(default_factory=lambda: PLANS)
    devices: dict[str, Any] = field(default_factory=lambda: DEVICES)
    skipped: dict[str, str] = field(default_factory=dict)
    catalog_uid: str = "first"
    revision: int = 0
    part_size: int = 100
    was_read: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """One permit for each reading of the catalogue."""

    def table(self) -> list[Handler]:
        return [Handler(ENVIRONMENT_STATE, self.get_state), Handler(ENVIRONMENT_CATALOG, self.get_part)]

    async def get_state(self, _: Empty) -> EnvironmentState:
        return EnvironmentState(
            environment_id="e", revision=self.revision, phase=EnvironmentPhase.IDLE, catalog_uid=self.catalog_uid
        )

    async def get_part(self, request: CatalogPart) -> CatalogBytes:
        packed = zlib.compress(orjson.dumps({"plans": self.plans, "devices": self.devices, "skipped": self.skipped}))
        parts = [packed[at : at + self.part_size] for at in range(0, len(packed), self.part_size)]
        if request.part == 0:
            self.was_read.release()
        data = base64.b64encode(parts[request.part]).decode()
        return CatalogBytes(catalog_uid=self.catalog_uid, parts=len(parts), data=data)

    async def change(self, catalog_uid: str, **lists: Any) -> None:
        """Have another catalogue from now on, and say so."""
        self.catalog_uid = catalog_uid
        self.plans, self.devices = lists.get("plans", self.plans), lists.get("devices", self.devices)
        await self.tell()

    async def tell(self) -> None:
        """Push the state, as an environment does whenever it changes."""
        self.revision += 1
        await self.bus.publish(self.bus.subjects.internal(ENVIRONMENT_STATE_TOPIC), await self.get_state(Empty()))


@asynccontextmanager
async def environment(nats: NatsServer, **lists: Any) -> AsyncIterator[StandInEnvironment]:
    stand_in = StandInEnvironment(nats.make_bus("environment"), **lists)
    Service(stand_in.bus, "environment", stand_in.table())
    async with running(stand_in.bus):
        yield stand_in


@dataclass
class Auth:
    """A running `skybus-auth`."""

    process: asyncio.subprocess.Process

    async def until_ready(self, ready: socket.socket) -> None:
        told = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(ready, 100))
        ended = asyncio.ensure_future(self.process.wait())
        await asyncio.wait({told, ended}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        assert told.done(), f"skybus-auth is not ready (exit code: {self.process.returncode})"

    async def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


async def start_auth(data_dir: Path, **settings: Any) -> asyncio.subprocess.Process:
    env = {f"SKYBUS_{name.upper()}": value for name, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "skybus-auth",
        env={**os.environ, "SKYBUS_DATA_DIR": str(data_dir), "NOTIFY_SOCKET": str(data_dir / "notify"), **env},
        stderr=asyncio.subprocess.PIPE if settings.pop("quiet", False) else None,
    )


@asynccontextmanager
async def auth(nats: NatsServer, **settings: str) -> AsyncIterator[Auth]:
    """Run the service from when it says that it is ready to the end of the block."""
    (nats.data_dir / "notify").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.setblocking(False)
        ready.bind(str(nats.data_dir / "notify"))
        service = Auth(await start_auth(nats.data_dir, **settings))
        try:
            await service.until_ready(ready)
            yield service
        finally:
            await service.stop()


class Queue:
    """The queue service's side: it has items checked, follows the uids of the lists, and knows the lock."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.lock_key: str | None = None
        Service(bus, "queue", [Handler(LOCK_CHECK, self.check_lock)])
        self._changes: asyncio.Queue[CatalogChanged] = asyncio.Queue()

    async def listen(self) -> None:
        async def on_message(message) -> None:
            self._changes.put_nowait(decode(CatalogChanged, message.data))

        await self.bus.subscribe(self.bus.subjects.event("catalog"), on_message)
        await self.bus.settle()

    async def fetched(self) -> CatalogChanged:
        """Wait until auth, started after us, has announced other uids than those of its start."""
        return await self.changed(before=await asyncio.wait_for(self._changes.get(), PATIENCE))

    async def changed(self, before: CatalogChanged) -> CatalogChanged:
        """Wait until other uids are announced."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if (uids := await self._changes.get()) != before:
                    return uids

    async def uids(self) -> CatalogChanged:
        return await self.bus.call(CATALOG_UIDS, Empty())

    async def check(self, *items: dict[str, Any], requester: str = "operator", **claims: str):
        return await self.bus.call(ITEMS_CHECK, ItemsCheck(requester=requester, items=list(items), **claims))

    async def problem(self, item: dict[str, Any], requester: str = "operator", **claims: str):
        return (await self.check(item, requester=requester, **claims)).problems[0]

    async def check_lock(self, request: LockCheck) -> Nothing:
        if request.queue and self.lock_key not in (None, request.lock_key):
            raise LockedError("Invalid lock key")
        return Nothing()


@asynccontextmanager
async def queue_service(nats: NatsServer) -> AsyncIterator[Queue]:
    queue = Queue(nats.make_bus("queue"))
    async with running(queue.bus):
        await queue.listen()
        yield queue


def count(*detectors: str, name: str = "count", **kwargs: Any) -> dict[str, Any]:
    return {"item_type": "plan", "name": name, "args": [list(detectors)], "kwargs": kwargs}
