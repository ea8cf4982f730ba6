"""`skybus up`: NATS, Valkey and the five services on one machine, under supervision."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from skybus.bus.errors import UnavailableError
from skybus.bus.hidden_memory import hide_memory
from skybus.bus.settings import DEFAULT_INSTRUMENT, KEYS, LISTEN_FILE, BusSettings, Listen
from skybus.bus.subjects import Subjects
from skybus.bus.tasks import end_tasks
from skybus.stack import datadir
from skybus.stack.account import WORKER, Account, Separation
from skybus.stack.addresses import require_free, until_redis_answers, without_password
from skybus.stack.child import Child
from skybus.stack.datadir import DataDir
from skybus.stack.limits import StackLimits
from skybus.stack.nats_child import HOST, lost_its_port, nats_child
from skybus.stack.notify_socket import NotifySocket
from skybus.stack.ports import LastPorts, port_of
from skybus.stack.servers import next_free_port, port_taken, require_free_port
from skybus.stack.valkey_alone import valkey_child

log = structlog.get_logger()

SERVICES = ("queue", "auth", "console", WORKER, "bridge")
OPEN = "X_SKYBUS_OPEN"
"""Where the bridge tells who reaches it over TCP."""
ENVIRONMENT_USER = "SKYBUS_ENVIRONMENT_USER"
"""Names the account in which plan code runs."""
STANDBY = "standby"
"""The second queue service, by the name of its log and its lease."""
WORKER_PATIENCE, SERVICE_PATIENCE, SERVER_PATIENCE = 3.2, 0.8, 0.8
"""Seconds: together below the 5 s in which everything must have stopped."""
_FOR_ANOTHER_HOUSE = ("SKYBUS_NATS_URL", "SKYBUS_REPLICAS", "SKYBUS_CREDENTIALS_FILE", "SKYBUS_REDIS_URL")
"""Where servers are that we do not start: whoever uses a cluster too may have exported them."""


@dataclass(frozen=True)
class UpOptions:
    """What `skybus up` was asked for; without addresses, 0MQ has sockets in the data directory."""

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
    environment_user: str | None = None
    """The account in which the worker and its environments run; by default ours."""
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
        self._jetstream_bytes = StackLimits.read().jetstream_on(data_dir.nats)
        self._servers: dict[str, Child] = {}
        self._services: dict[str, Child] = {}
        self._reports: dict[str, NotifySocket] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._last = LastPorts.read(data_dir.path)
        self._asked = self._asked_ports()
        user = options.environment_user
        self._separate = Separation(Account.named(user), data_dir.path) if user else None
        self.listen = Listen(
            instrument=options.instrument,
            nats="",
            redis=without_password(options.redis_url or f"unix://{data_dir.sockets / 'valkey.sock'}"),
            zmq_control=options.zmq_control_addr or f"ipc://{data_dir.zmq_control}",
            zmq_info=(options.zmq_info_addr or f"ipc://{data_dir.zmq_info}") if options.publishes else "",
            pid=os.getpid(),
        )
        """Where things listen, as far as they do."""

    async def start(self) -> None:
        """Start everything and wait until it serves.

        The port of NATS, if nobody asked for one, belongs to the stack once its process has bound it: two stacks that
        start at the same time may want the same one.
        """
        if not self._options.redis_url:
            self._servers["valkey"] = valkey_child(self._dir)
        self._services = {name: self._service(name) for name in SERVICES if name != WORKER or not self._separate}
        children = [*self._servers.values(), *self._services.values()]
        await _together(self._start_nats(), *(child.start() for child in children))  # a service waits for what it needs
        if self._separate:
            self._separate.make()
            worker = self._services[WORKER] = self._service(WORKER)  # it is told where NATS listens
            await worker.start()
        if reach := self._services["bridge"].told.get(OPEN):
            log.warning(reach)
        self._watch([*self._servers.values(), *self._services.values()])
        if self._options.standby:
            standby = self._services[STANDBY] = self._service(STANDBY)
            await standby.start()  # last, so that it does not lead while the others start
            self._watch([standby])
        if self._beside:
            self._side = [asyncio.create_task(self._beside(), name="beside")]

    async def run(self) -> None:
        """Keep everything alive; ends only by being cancelled."""
        await asyncio.gather(*self._watchers)

    async def stop(self) -> None:
        """Stop everything in order: the worker with its environment, the services, the servers."""
        worker = self._services.get(WORKER)
        if worker:
            await worker.stop(WORKER_PATIENCE)
        await _stop(list(self._services.values()), SERVICE_PATIENCE)
        await end_tasks(self._side)
        await _stop(list(self._servers.values()), SERVER_PATIENCE)
        await end_tasks(self._watchers)
        for reports in self._reports.values():
            reports.close()
        (self._dir.path / LISTEN_FILE).unlink(missing_ok=True)

    def announce(self, what: str) -> None:
        """Tell people, unless nothing is to be printed."""
        if self._options.announces:
            print(what, flush=True)

    async def _start_nats(self) -> None:
        """Start NATS on the port that was asked for, or else on the first one that it gets."""
        asked = self._options.nats_port
        port = asked or next_free_port(self._last.nats, self._asked)
        while True:
            nats = self._servers["nats"] = nats_child(self._dir, self._subjects, port, self._jetstream_bytes)
            try:
                await nats.start()
                break
            except UnavailableError as error:
                if not lost_its_port(error):
                    raise
                if asked:
                    raise port_taken(asked) from None
            log.info("another program was quicker to bind a port", name="nats", port=port)
            port = next_free_port(port + 1, self._asked)
        self._write_listen(nats=f"nats://{HOST}:{port}")
        LastPorts(nats=port).write(self._dir.path)

    def _watch(self, children: list[Child]) -> None:
        self._watchers += [asyncio.create_task(child.watch(), name=child.name) for child in children]

    def _asked_ports(self) -> set[int]:
        """The ports that were asked for, each of them free."""
        options, asked = self._options, set[int]()
        if options.nats_port:
            require_free_port(options.nats_port)
            asked.add(options.nats_port)
        for address in (options.zmq_control_addr, options.zmq_info_addr if options.publishes else None):
            if address:
                require_free(address)
                asked |= {port_of(address)} if address.startswith("tcp://") else set()
        return asked

    def _write_listen(self, **addresses: str) -> None:
        """Add addresses to those that clients read; at each moment the file is whole."""
        self.listen = self.listen.model_copy(update=addresses)
        file = self._dir.path / LISTEN_FILE
        file.with_suffix(".new").write_text(self.listen.model_dump_json(indent=2) + "\n")
        file.with_suffix(".new").replace(file)

    def _service(self, name: str) -> Child:
        service = "queue" if name == STANDBY else name
        separate = self._separate if service == WORKER else None
        folder = separate.given if separate else self._dir.sockets
        reports = self._reports[name] = NotifySocket(folder / f"{name}.notify")
        if separate:
            os.chown(reports.address, separate.account.uid, separate.account.gid)
        environment = {
            **self._options.environment,
            "SKYBUS_DATA_DIR": str(self._dir.path),
            "SKYBUS_STACK_PID": str(os.getpid()),
            "SKYBUS_STACK_RUN": self._run,
            **(self._bridge_settings() if service == "bridge" else {}),
            **(self._queue_settings(name) if service == "queue" else {}),
            **self._options.environments.get(service, {}),
            **(separate.settings(self.listen.instrument, self.listen.nats) if separate else {}),
        }
        command = [str(Path(sys.executable).parent / f"skybus-{service}")]
        return Child(
            name,
            command,
            self._dir.logs / f"{name}.log",
            reports.until_ready,
            environment=environment,
            reports=reports,
            stop_signal=signal.SIGINT if name == WORKER else signal.SIGTERM,  # SIGINT: with the environment
            account=separate.account.process_options if separate else {},
        )

    def _bridge_settings(self) -> dict[str, str]:
        return {"SKYBUS_ZMQ_CONTROL_ADDR": self.listen.zmq_control, "SKYBUS_ZMQ_INFO_ADDR": self.listen.zmq_info}

    def _queue_settings(self, name: str) -> dict[str, str]:
        options = self._options
        return {
            "SKYBUS_JETSTREAM_MAX_BYTES": str(self._jetstream_bytes),
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
    options = _with_keys(options)
    if not _is_dumpable():
        hide_memory()  # our own environment still has what was exported
    if options.redis_url:
        await until_redis_answers(options.redis_url)
    data_dir = datadir.take(options.data_dir)
    try:
        stack = Stack(options, data_dir, beside)
        await _run_until_signal(stack, born)
    finally:
        data_dir.release()


def _is_dumpable() -> bool:
    try:
        return BusSettings().dumpable
    except ValidationError:  # the services say what is wrong
        return False


def _with_keys(options: UpOptions) -> UpOptions:
    """Take keys out of the environment, which all our processes inherit down to plan code; one service gets each."""
    environments = {service: dict(settings) for service, settings in options.environments.items()}
    for name, service in KEYS.items():
        if key := os.environ.pop(name, ""):
            environments.setdefault(service, {}).setdefault(name, key)
    return replace(options, environments=environments)


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
        f"ready in {time.monotonic() - born:.2f} s: instrument {listen.instrument}, NATS {listen.nats}\n"
        f"for `qserver` and other 0MQ clients: {_for_clients(listen)}\n"
        f"data in {stack._dir.path}; try `skybus status`, `skybus env open`; Ctrl-C stops everything"
    )
    await stack.run()


def _for_clients(listen: Listen) -> str:
    """What a shell is told for the reference's clients, which read these variables."""
    variables = {"CONTROL": listen.zmq_control, "INFO": listen.zmq_info}
    told = (f"QSERVER_ZMQ_{name}_ADDRESS={_reached(address)}" for name, address in variables.items() if address)
    return f"export {' '.join(told)}"


def _reached(address: str) -> str:
    """Where clients of this machine connect to."""
    return shlex.quote(address.replace("tcp://*:", "tcp://localhost:"))


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """Do several things at once; the first failure cancels the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _stop(children: list[Child], patience: float) -> None:
    await asyncio.gather(*(child.stop(patience) for child in children))
