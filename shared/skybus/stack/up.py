"""`skybus up`: NATS, Valkey and the five services on one machine, under supervision."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from skybus.bus.settings import DEFAULT_INSTRUMENT, LISTEN_FILE, Listen
from skybus.bus.subjects import Subjects
from skybus.bus.tasks import end_tasks
from skybus.stack import datadir
from skybus.stack.accounts import server_config
from skybus.stack.addresses import require_free, until_redis_answers, without_password
from skybus.stack.child import Child, notify_socket, until_listening
from skybus.stack.credentials import ensure_credentials
from skybus.stack.datadir import DataDir
from skybus.stack.private_file import write_private
from skybus.stack.servers import free_port, nats_binary
from skybus.stack.valkey_alone import valkey_child

log = structlog.get_logger()

HOST = "127.0.0.1"
NATS_PORT, CONTROL_PORT, INFO_PORT = 4222, 60615, 60625
SERVICES = ("queue", "auth", "console", "worker", "bridge")
STANDBY = "standby"
"""The second queue service, by the name of its log and its lease."""
WORKER_PATIENCE, SERVICE_PATIENCE, SERVER_PATIENCE = 3.2, 0.8, 0.8
"""Seconds: together below the 5 s in which everything must have stopped."""
_PORTS_FILE = "ports.json"
_FOR_ANOTHER_HOUSE = ("SKYBUS_NATS_URL", "SKYBUS_REPLICAS", "SKYBUS_CREDENTIALS_FILE", "SKYBUS_REDIS_URL")
"""Where servers are that we do not start: whoever uses a cluster too may have exported them."""


@dataclass(frozen=True)
class UpOptions:
    """What `skybus up` was asked for; an address that was not asked for is chosen."""

    data_dir: Path
    instrument: str = DEFAULT_INSTRUMENT
    nats_port: int | None = None
    redis_url: str | None = None
    standby: bool = False
    """Whether there is a second queue service, which waits."""
    zmq_control_addr: str | None = None
    zmq_info_addr: str | None = None
    publishes: bool = True
    """Whether there is an info socket."""
    announces: bool = True
    """Whether to print that everything is ready, and that it stops."""
    environment: dict[str, str] = field(default_factory=dict)
    """Settings of the services, as environment variables."""
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    """Settings that only one service gets, by its name: keys and passwords for one."""


class Stack:
    """The processes of one data directory."""

    def __init__(
        self,
        options: UpOptions,
        data_dir: DataDir,
        beside: Callable[[], Coroutine[None, None, None]] | None = None,
    ) -> None:
        self._options = options
        self._beside = beside
        self._side: list[asyncio.Task[None]] = []
        self._dir = data_dir
        self._subjects = Subjects(options.instrument)
        self._run = uuid.uuid4().hex
        self._servers: list[Child] = []
        self._services: dict[str, Child] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self.listen = self._choose_addresses()

    async def start(self) -> None:
        """Start everything and wait until it serves."""
        self._servers = [self._nats(), *([] if self._options.redis_url else [valkey_child(self._dir)])]
        self._services = {name: self._service(name) for name in SERVICES}
        self._write_listen()
        await self._start([*self._servers, *self._services.values()])  # a service waits for what it needs
        if self._options.standby:
            self._services[STANDBY] = self._service(STANDBY)
            await self._start([self._services[STANDBY]])  # last, so that it does not lead while the others start
        if self._beside:
            self._side = [asyncio.create_task(self._beside(), name="beside")]

    async def run(self) -> None:
        """Keep everything alive; ends only by being cancelled."""
        await asyncio.gather(*self._watchers)

    async def stop(self) -> None:
        """Stop everything in order: the worker with its environment, the services, the servers."""
        worker = self._services.get("worker")
        if worker:
            await worker.stop(WORKER_PATIENCE)
        await _stop(list(self._services.values()), SERVICE_PATIENCE)
        await end_tasks(self._side)
        await _stop(self._servers, SERVER_PATIENCE)
        for watcher in self._watchers:
            watcher.cancel()
        (self._dir.path / LISTEN_FILE).unlink(missing_ok=True)

    def announce(self, what: str) -> None:
        """Tell people, unless nothing is to be printed."""
        if self._options.announces:
            print(what, flush=True)

    async def _start(self, children: list[Child]) -> None:
        started = [asyncio.ensure_future(child.start()) for child in children]
        try:
            await asyncio.gather(*started)
        finally:
            for task in started:
                task.cancel()
        self._watchers += [asyncio.create_task(child.watch(), name=child.name) for child in children]

    def _choose_addresses(self) -> Listen:
        options = self._options
        last, taken = _last_ports(self._dir.path), self._asked_ports()
        nats = options.nats_port or _choose_port(last.get("nats", NATS_PORT), taken)
        control = options.zmq_control_addr or (f"tcp://{HOST}:{_choose_port(last.get('control', CONTROL_PORT), taken)}")
        info = options.zmq_info_addr or f"tcp://{HOST}:{_choose_port(last.get('info', INFO_PORT), taken)}"
        return Listen(
            instrument=options.instrument,
            nats=f"nats://{HOST}:{nats}",
            redis=without_password(options.redis_url or f"unix://{self._dir.sockets / 'valkey.sock'}"),
            zmq_control=control,
            zmq_info=info,
            pid=os.getpid(),
        )

    def _asked_ports(self) -> set[int]:
        """The ports that were asked for, each of them free."""
        options, asked = self._options, set[int]()
        if options.nats_port:
            asked.add(free_port(options.nats_port, exactly=True))
        for address in (options.zmq_control_addr, options.zmq_info_addr if options.publishes else None):
            if address:
                require_free(address)
                asked |= {_port_of(address)} if address.startswith("tcp://") else set()
        return asked

    def _write_listen(self) -> None:
        file = self._dir.path / LISTEN_FILE
        file.with_suffix(".new").write_text(self.listen.model_dump_json(indent=2) + "\n")
        file.with_suffix(".new").replace(file)
        ports = {"nats": _port_of(self.listen.nats)}
        if not self._options.zmq_control_addr:
            ports["control"] = _port_of(self.listen.zmq_control)
        if not self._options.zmq_info_addr:
            ports["info"] = _port_of(self.listen.zmq_info)
        (self._dir.path / _PORTS_FILE).write_text(json.dumps(ports))

    def _nats(self) -> Child:
        config = self._dir.nats / "server.conf"
        port = _port_of(self.listen.nats)
        identities = ensure_credentials(self._dir.path)
        write_private(config, server_config(f"{HOST}:{port}", self._dir.nats / "jetstream", self._subjects, identities))
        return Child(
            "nats",
            [nats_binary(), "-c", str(config)],
            self._dir.logs / "nats.log",
            until_listening((HOST, port)),
            lock_fd=self._dir.lock_fd,
        )

    def _service(self, name: str) -> Child:
        service = "queue" if name == STANDBY else name
        address, until_ready = notify_socket(self._dir.sockets, name)
        environment = {
            **self._options.environment,
            "NOTIFY_SOCKET": address,
            "SKYBUS_DATA_DIR": str(self._dir.path),
            "SKYBUS_STACK_PID": str(os.getpid()),
            "SKYBUS_STACK_RUN": self._run,
            "SKYBUS_ZMQ_CONTROL_ADDR": self.listen.zmq_control,
            "SKYBUS_ZMQ_INFO_ADDR": self.listen.zmq_info,
            **(self._queue_settings(name) if service == "queue" else {}),
            **self._options.environments.get(service, {}),
        }
        command = [str(Path(sys.executable).parent / f"skybus-{service}")]
        return Child(
            name,
            command,
            self._dir.logs / f"{name}.log",
            until_ready,
            environment=environment,
            stop_signal=signal.SIGINT if name == "worker" else signal.SIGTERM,  # SIGINT: with the environment
        )

    def _queue_settings(self, name: str) -> dict[str, str]:
        options = self._options
        return {
            **({"SKYBUS_REDIS_URL": options.redis_url} if options.redis_url else {}),
            **({"SKYBUS_STANDBY": "true", "SKYBUS_QUEUE_NAME": name} if options.standby else {}),
        }


async def run_stack(options: UpOptions, beside: Callable[[], Coroutine[None, None, None]] | None = None) -> None:
    """Run the stack in the foreground until SIGINT or SIGTERM.

    Args:
        options: what is asked for.
        beside: makes what runs from when the stack is ready until it has stopped.
    """
    born = time.monotonic()
    for name in _FOR_ANOTHER_HOUSE:
        os.environ.pop(name, None)  # our processes inherit it
    if options.redis_url:
        await until_redis_answers(options.redis_url)
    data_dir = datadir.take(options.data_dir)
    try:
        stack = Stack(options, data_dir, beside)
        await _run_until_signal(stack, born)
    finally:
        data_dir.release()


async def _run_until_signal(stack: Stack, born: float) -> None:
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, signalled.set)
    work = asyncio.create_task(_start_and_keep(stack, born))
    stop = asyncio.create_task(signalled.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        else:
            stack.announce("stopping …")
    finally:
        work.cancel()
        stop.cancel()
        await asyncio.wait({work, stop})
        await stack.stop()


async def _start_and_keep(stack: Stack, born: float) -> None:
    await stack.start()
    listen = stack.listen
    stack.announce(
        f"ready in {time.monotonic() - born:.2f} s: instrument {listen.instrument}, NATS {listen.nats}, "
        f"0MQ {listen.zmq_control} and {listen.zmq_info}\n"
        f"data in {stack._dir.path}; try `skybus status`, `skybus env open`; Ctrl-C stops everything"
    )
    await stack.run()


async def _stop(children: list[Child], patience: float) -> None:
    await asyncio.gather(*(child.stop(patience) for child in children))


def _last_ports(path: Path) -> dict[str, int]:
    """The ports of the last stack here: an environment that outlived it still looks for its server there."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((path / _PORTS_FILE).read_text())
    return {}


def _choose_port(wanted: int, taken: set[int]) -> int:
    """The wanted port, or the next one that is free and not `taken`; then it is."""
    port = free_port(wanted, exactly=False)
    while port in taken:
        port = free_port(port + 1, exactly=False)
    taken.add(port)
    return port


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
