"""The auth service as a real process on a real NATS server, with a stand-in for the environment."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from skybus.bus.api.catalog import DEVICES_ALLOWED, DEVICES_EXISTING, PLANS_ALLOWED, PLANS_EXISTING, GroupQuery
from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import (
    CATALOG_UIDS,
    ENVIRONMENT_CATALOG,
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    ITEMS_CHECK,
    CatalogBytes,
    CatalogPart,
    EnvironmentPhase,
    EnvironmentState,
    ItemsCheck,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import DeniedError, InvalidError
from skybus.bus.messages import Empty, decode
from skybus.bus.service import Handler, Service
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
        packed = zlib.compress(orjson.dumps({"plans": self.plans, "devices": self.devices}))
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
        await asyncio.wait({told, ended}, timeout=15, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        assert told.done(), f"skybus-auth is not ready (exit code: {self.process.returncode})"

    async def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 10)


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
    """The queue service's side: it has items checked and follows the uids of the lists."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._changes: asyncio.Queue[CatalogChanged] = asyncio.Queue()

    async def listen(self) -> None:
        async def on_message(message) -> None:
            self._changes.put_nowait(decode(CatalogChanged, message.data))

        await self.bus.subscribe(self.bus.subjects.event("catalog"), on_message)
        await self.bus.connection.flush()

    async def fetched(self) -> CatalogChanged:
        """Wait until auth, started after us, has announced other uids than those of its start."""
        return await self.changed(before=await asyncio.wait_for(self._changes.get(), 20))

    async def changed(self, before: CatalogChanged) -> CatalogChanged:
        """Wait until other uids are announced."""
        async with asyncio.timeout(20):
            while True:
                if (uids := await self._changes.get()) != before:
                    return uids

    async def uids(self) -> CatalogChanged:
        return await self.bus.call(CATALOG_UIDS, Empty())

    async def check(self, *items: dict[str, Any], requester: str = "operator", **claims: str):
        return await self.bus.call(ITEMS_CHECK, ItemsCheck(requester=requester, items=list(items), **claims))

    async def problem(self, item: dict[str, Any], requester: str = "operator", **claims: str):
        return (await self.check(item, requester=requester, **claims)).problems[0]


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[Queue]:
    async with nats.bus("queue") as bus:
        queue = Queue(bus)
        await queue.listen()
        yield queue


def count(*detectors: str, name: str = "count", **kwargs: Any) -> dict[str, Any]:
    return {"item_type": "plan", "name": name, "args": [list(detectors)], "kwargs": kwargs}


async def test_items_are_checked_against_the_catalogue_of_the_environment(nats, queue):
    async with auth(nats), environment(nats) as env:
        await env.tell()
        await queue.fetched()

        checked = await queue.check(
            count("det", "det.val", num=3),
            count("det", name="cuont"),
            count("dte"),
            count("det", num="three"),
            count("det", number=3),
            count("det", name="_secret"),
            {"item_type": "instruction", "name": "queue_stop"},
        )

    assert (checked.user, checked.user_group) == ("operator", "root")
    codes = [problem and problem.code for problem in checked.problems]
    assert codes == [None, "not_found", "not_found", "invalid", "invalid", "denied", None]
    messages = [problem.msg if problem else "" for problem in checked.problems]
    assert "Plan 'cuont' is not in the list of allowed plans. Did you mean 'count'?" in messages[1]
    assert "Did you mean 'det'?" in messages[2]
    assert "key='num'" in messages[3]
    assert "got an unexpected keyword argument 'number'" in messages[4]


async def test_before_any_environment_plans_are_not_known(nats, queue):
    async with auth(nats), nats.bus("operator") as operator:
        problem = await queue.problem(count("det"))
        assert (problem.code, "no environment has been opened yet" in problem.msg) == ("wrong_state", True)
        assert await queue.problem({"item_type": "instruction", "name": "queue_stop"}) is None
        assert (await operator.call(PLANS_EXISTING, Empty())).plans == {}


async def test_catalogue_of_an_environment_that_was_there_first_is_fetched(nats, queue):
    async with environment(nats), auth(nats):
        uids = await queue.fetched()
        assert await queue.uids() == uids
        assert await queue.problem(count("det")) is None


async def test_uids_change_only_with_their_lists(nats, queue):
    async with auth(nats), environment(nats, part_size=100_000) as env:
        await env.tell()
        first = await queue.fetched()
        await env.was_read.acquire()
        await env.change("the same lists again")
        await asyncio.wait_for(env.was_read.acquire(), 10)
        await env.change("new device", devices={**DEVICES, "det2": FLAGS})
        second = await queue.changed(first)

    assert second.plans_existing_uid == first.plans_existing_uid
    assert second.plans_allowed_uid == first.plans_allowed_uid
    assert second.devices_existing_uid != first.devices_existing_uid
    assert second.devices_allowed_uid != first.devices_allowed_uid


async def test_claim_of_a_delegate_counts_and_of_another_user_does_not(nats, queue):
    claims = {"claimed_user": "Ada", "claimed_group": "primary"}
    async with auth(nats):
        claimed = await queue.check(requester="bridge", **claims)
        ignored = await queue.check(requester="operator", **claims)
        stranger = await queue.check(requester="agent", claimed_user="operator", claimed_group="root")

    assert (claimed.user, claimed.user_group) == ("Ada", "primary")
    assert (ignored.user, ignored.user_group) == ("operator", "root")
    assert (stranger.user, stranger.user_group) == ("agent", "primary")


@pytest.mark.parametrize(
    ("claims", "error", "message"),
    [
        ({"claimed_group": "primary"}, InvalidError, "user name is not specified"),
        ({"claimed_user": "Ada"}, InvalidError, "user group is not specified"),
        (
            {"claimed_user": "Ada", "claimed_group": "no_such_group"},
            InvalidError,
            "Unknown user group: 'no_such_group'",
        ),
        ({"claimed_user": "Ada", "claimed_group": "root"}, DeniedError, "may not act for user group 'root'"),
    ],
)
async def test_claim_that_is_incomplete_or_not_granted_is_refused(nats, queue, claims, error, message):
    async with auth(nats, delegates='{"bridge": ["primary"]}'):
        with pytest.raises(error, match=message):
            await queue.check(count("det"), requester="bridge", **claims)


async def test_lists_are_those_of_the_group(nats, queue):
    async with auth(nats), environment(nats) as env, nats.bus("bridge") as bridge, nats.bus("operator") as operator:
        await env.tell()
        uids = await queue.fetched()

        plans = await operator.call(PLANS_ALLOWED, GroupQuery())
        assert (list(plans.plans), plans.uid) == (["count"], uids.plans_allowed_uid)
        devices = await bridge.call(DEVICES_ALLOWED, GroupQuery(user_group="observer"))
        assert (devices.devices, devices.uid) == ({}, uids.devices_allowed_uid)
        assert (await operator.call(DEVICES_EXISTING, Empty())).devices == DEVICES
        with pytest.raises(InvalidError, match="user group is not specified"):
            await bridge.call(PLANS_ALLOWED, GroupQuery())
        with pytest.raises(InvalidError, match="Unknown user group: 'no_such_group'"):
            await operator.call(PLANS_ALLOWED, GroupQuery(user_group="no_such_group"))


async def test_lists_of_another_group_are_shown_only_to_root(nats):
    async with auth(nats, user_groups='{"operator": "primary"}'), nats.bus("operator") as operator:
        with pytest.raises(DeniedError, match="may not see what user group 'root' may use"):
            await operator.call(PLANS_ALLOWED, GroupQuery(user_group="root"))


async def test_catalogue_outlives_auth_nats_and_environment(nats, queue):
    async with auth(nats) as service, environment(nats) as env:
        await env.tell()
        uids = await queue.fetched()
        await service.stop(signal.SIGKILL)
    nats.stop(signal.SIGKILL)
    await nats.start()
    await queue.bus.wait_connected()
    async with auth(nats):
        assert await queue.uids() == uids
        assert await queue.problem(count("det")) is None
        assert (await queue.problem(count("dte"))).code == "not_found"


async def test_large_catalogue_is_fetched_and_checks_stay_fast(nats, queue):
    components = dict.fromkeys(("x", "y", "val"), FLAGS)
    devices = {f"dev_{n}": {**FLAGS, "components": components} for n in range(13_000)}
    async with (
        auth(nats) as service,
        environment(nats, devices=devices, part_size=30_000) as env,
        nats.bus("operator") as operator,
    ):
        start = time.perf_counter()
        await env.tell()
        await queue.fetched()
        fetched = time.perf_counter()
        checked = await queue.check(*(count(f"dev_{n}", f"dev_{n}.val", num=5) for n in range(1000)))
        done = time.perf_counter()
        allowed = await operator.call(DEVICES_ALLOWED, GroupQuery(), timeout=20)
        assert await service.stop() == 0

    print(f"fetched in {fetched - start:.3f} s, 1000 items checked in {done - fetched:.3f} s")
    assert checked.problems == [None] * 1000
    assert done - fetched < 1.0
    await env.was_read.acquire()
    assert env.was_read.locked(), "it was read more than once"
    assert len(allowed.devices) == 13_000


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (None, {}, "cannot be read from"),
        ("user_groups: {primary: [}", {}, "cannot be read from"),
        ("user_groups: {primary: {}}", {}, "Missing required user group: 'root'"),
        ("user_groups: {root: {}}", {"default_group": "users"}, "default_group names user group 'users'"),
    ],
)
async def test_service_does_not_start_on_wrong_permissions(nats, content, settings, message):
    file = nats.data_dir / "permissions.yaml"
    if content:
        file.write_text(content)
    process = await start_auth(nats.data_dir, quiet="yes", user_group_permissions=str(file), **settings)
    _, errors = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 1
    assert message in errors.decode()
    assert len(errors.decode().splitlines()) == 1
