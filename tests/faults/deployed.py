"""What `deploy/` describes, on this machine: the files of `skybus cluster-config`, the commands of the systemd units.

Three machines are three folders and three sets of ports. Like systemd, we start again what dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil
from redis.asyncio import Redis

from skybus.bus.connection import Bus
from skybus.bus.settings import BusSettings
from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from skybus.queue.redis_address import read_sentinels
from skybus.stack.child import Child, UntilReady
from skybus.stack.cluster import HOME, PRIMARY, Machine, write_cluster
from skybus.stack.notify_socket import NotifySocket
from skybus.stack.servers import valkey_binary
from tests.promises import PATIENCE
from tests.servers import free_port, running
from tests.system.stack import kill_processes_of

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
BIN = Path(sys.executable).parent
HOST = "127.0.0.1"
SERVERS = ("nats", "valkey", "sentinel")
SERVICES = ("queue", "auth", "console", "worker", "bridge")


@dataclass(frozen=True)
class Unit:
    """A systemd unit as it is for a machine."""

    command: list[str]
    environment: dict[str, str]


def read_unit(name: str, home: Path, label: str) -> Unit:
    """Read what the unit starts, with the places of this machine in it."""
    text = (UNITS / f"skybus-{name}.service").read_text()
    for there, here in (
        ("/usr/bin/valkey-server", valkey_binary()),
        ("/opt/skybus/bin", str(BIN)),
        (str(HOME), str(home)),
        ("%l", label),
    ):
        text = text.replace(there, here)
    entries = [line.partition("=")[::2] for line in text.splitlines() if "=" in line and not line.startswith("#")]
    environment: dict[str, str] = {}
    for key, value in entries:
        if key == "EnvironmentFile":
            environment |= _variables(Path(value).read_text())
        elif key == "Environment":
            environment |= _variables(value)
    return Unit(dict(entries)["ExecStart"].split(), environment)


def _variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


@dataclass
class Deployed:
    """An instrument on three machines; parts are named `nats0`, `valkey2`, `queue1` …"""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)
    """Of the services, beside those that are written down."""
    parts: dict[str, Child] = field(default_factory=dict)
    _watchers: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.machines = []
        for _ in range(3):
            nats = free_port()
            home = self.root / f"{HOST}_{nats}"
            self.machines.append(Machine(HOST, nats, free_port(), free_port(), free_port(), home))
        write_cluster(self.root, "sim", self.machines)
        self.monitors = [free_port() for _ in self.machines]
        for machine in self.machines:
            (machine.home / "logs").mkdir()
        self.nats_url = ",".join(f"nats://{HOST}:{machine.nats}" for machine in self.machines)

    async def start(self, *names: str) -> None:
        """Start parts, all at once, and keep them alive."""
        for name in names:
            self.parts[name] = self._make(name)
        await asyncio.gather(*(self.parts[name].start() for name in names))
        self._watchers |= {name: asyncio.create_task(self.parts[name].watch(), name=name) for name in names}

    async def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill a part and leave it dead."""
        await end_tasks([self._watchers.pop(name)])
        part = self.parts.pop(name)
        process = part._process
        assert process
        process.send_signal(number)
        await process.wait()
        _stop_listening(part)

    def process(self, name: str) -> psutil.Process:
        process = self.parts[name]._process
        assert process
        return psutil.Process(process.pid)

    def client(self, **options: Any) -> Any:
        options = {"connect_timeout": PATIENCE, **options}
        return Client.connect(data_dir=self.machines[0].home, nats_url=self.nats_url, instrument="sim", **options)

    @asynccontextmanager
    async def bus(self, name: str = "queue") -> AsyncIterator[Bus]:
        """Connected as a service is."""
        settings = BusSettings(data_dir=self.machines[0].home, nats_url=self.nats_url, instrument="sim", replicas=3)
        async with running(Bus("test", settings.subjects(), lambda: settings.access(name), 3)) as bus:
            yield bus

    async def leader_of_meta(self) -> str | None:
        """The NATS server that decides where streams are."""
        asked = next(name for name in self.parts if name.startswith("nats"))
        return self._nats_of((await self._meta_of(asked)).get("leader"))

    async def is_formed(self) -> bool:
        """Whether there is a server that decides where streams are, and it hears the others."""
        leader = await self.leader_of_meta()
        others = (await self._meta_of(leader)).get("replicas", []) if leader else []
        return [other["current"] and not other.get("offline") for other in others] == [True, True]

    async def until_whole(self) -> None:
        """Wait until each NATS server has caught up with the others, in all streams."""
        for port in self.monitors:
            while not await asyncio.to_thread(_is_well, f"http://{HOST}:{port}/healthz"):
                await asyncio.sleep(0.05)  # nothing tells

    async def _meta_of(self, nats: str) -> dict[str, Any]:
        port = self.monitors[int(nats[-1])]
        return (await asyncio.to_thread(_get, f"http://{HOST}:{port}/jsz"))["meta_cluster"]

    async def primary(self) -> str:
        """The Valkey that takes changes, as the Sentinels have it."""
        async with self.redis("sentinel0") as sentinel:
            _, port = await sentinel.sentinel_get_master_addr_by_name(PRIMARY)
        return f"valkey{[machine.valkey for machine in self.machines].index(int(port))}"

    async def leading_queue(self) -> str | None:
        """The queue service that has the lease."""
        async with self.redis(await self.primary()) as redis:
            name = await redis.get("sky:sim:lease")
        return f"queue{name.decode()[-1]}" if name else None

    def redis(self, name: str, **options: Any) -> Redis:
        """A Valkey or a Sentinel, asked past the others."""
        port = getattr(self.machines[int(name[-1])], name[:-1])
        return Redis(host=HOST, port=port, password=read_sentinels(self.redis_url).password, protocol=2, **options)

    @property
    def redis_url(self) -> str:
        """Where the queue service is told to look."""
        return self._unit("queue0").environment["SKYBUS_REDIS_URL"]

    async def leader_of(self, bus: Bus, stream: str) -> str | None:
        """The NATS server that leads a stream."""
        cluster = (await bus.jetstream.stream_info(stream)).cluster
        return self._nats_of(cluster.leader if cluster else None)

    def log(self, name: str) -> Path:
        return self._home(name) / "logs" / f"{name}.log"

    async def stop(self) -> None:
        await end_tasks(self._watchers.values())
        for name in sorted(self.parts, key=lambda name: name[:-1] in SERVERS):
            number = signal.SIGINT if name.startswith("worker") else signal.SIGKILL
            self.parts[name].stop_signal = number
            await self.parts[name].stop(4)
            _stop_listening(self.parts[name])
        kill_processes_of(self.root)

    def _nats_of(self, server: str | None) -> str | None:
        names = [f"{HOST}_{machine.nats}" for machine in self.machines]
        return f"nats{names.index(server)}" if server else None

    def _home(self, name: str) -> Path:
        return self.machines[int(name[-1])].home

    def _unit(self, name: str) -> Unit:
        return read_unit(name[:-1], self._home(name), f"machine{name[-1]}")

    def _make(self, name: str) -> Child:
        unit, machine, kind = self._unit(name), self.machines[int(name[-1])], name[:-1]
        command, environment = list(unit.command), {**unit.environment}
        if kind in SERVERS:
            reports, until_ready = None, _until_listening(getattr(machine, kind))
        else:
            reports = NotifySocket(self.root / f"{name}.notify")
            until_ready = reports.until_ready
            environment |= self.settings
        if kind == "nats":
            command += ["-m", str(self.monitors[int(name[-1])])]  # to see who leads
        return Child(name, command, self.log(name), until_ready, environment=environment, reports=reports)


def _stop_listening(part: Child) -> None:
    if part.reports:
        part.reports.close()


def _until_listening(port: int) -> UntilReady:
    async def until_ready(_process: asyncio.subprocess.Process) -> dict[str, str]:
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.005)  # a server has no way to tell
            else:
                writer.close()
                return {}

    return until_ready


def _is_well(url: str) -> bool:
    try:
        return _get(url)["status"] == "ok"
    except OSError:  # it says that it is not, or is not there yet
        return False


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return orjson.loads(answer.read())


@asynccontextmanager
async def deployed(root: Path, *kinds: str, **settings: str) -> AsyncIterator[Deployed]:
    """Have the servers of these kinds on each machine."""
    place = Deployed(root, settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(place.stop)
        await place.start(*(f"{kind}{number}" for kind in kinds for number in range(3)))
        yield place


@asynccontextmanager
async def deployed_whole(root: Path, **settings: str) -> AsyncIterator[Deployed]:
    """Have everything: the services on the first machine, and a standby of the queue service on the second."""
    free = {name: f"tcp://{HOST}:{free_port()}" for name in ("SKYBUS_ZMQ_CONTROL_ADDR", "SKYBUS_ZMQ_INFO_ADDR")}
    async with deployed(root, *SERVERS, **free, **settings) as place:
        await place.start(*(f"{name}0" for name in SERVICES))
        await place.start("queue1")
        yield place


def ends_of_logs(root: Path) -> str:
    """What each part has said last."""
    ends = []
    for log in sorted(root.glob("*/logs/*.log")):
        ends += [f"-- {log.name}", *log.read_text(errors="replace").splitlines()[-30:]]
    return os.linesep.join(ends)
