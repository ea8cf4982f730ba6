"""The services of a stack as processes that can be told at which step to die, and that are started again at once.

They are forked from a process that has loaded their modules already (multiprocessing's fork server), so a restart takes
a tenth of what `skybus up` needs for one; what they run is the entry point that `skybus up` runs.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats.errors
import orjson

from skybus.bus.api.items import Item
from skybus.bus.api.queue import ITEM_ADD, QUEUE_START, ItemAdd, QueueControl
from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.endpoints import Endpoint, Rep, Req
from skybus.bus.errors import UnavailableError
from skybus.bus.tasks import end_tasks
from skybus.client.client import Client
from skybus.client.queue_calls import made, plan_item
from skybus.client.retries import GaveUpError
from tests.faults.crash_steps import Order, Point, install, order_file
from tests.promises import PATIENCE
from tests.servers import NatsServer, Valkey
from tests.system.stack import kill_processes_of

ROOT = Path(__file__).parents[2]
STARTUP = Path(__file__).parent / "startup_for_crashes"
SERVICES = ("worker", "auth", "queue")
HOLD = "hold"
"""As long as a file of this name is there, plans do not end."""
ATTEMPT = 1.5
"""Seconds after which a client gives up, to ask again under the same request id; it sends three times meanwhile."""

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload([f"skybus.{role}.__main__" for role in SERVICES])


def serve(role: str, log: str, environ: dict[str, str]) -> None:
    """Be a service; runs in the forked process."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for fd in (1, 2):
        os.dup2(out, fd)
    os.environ.update(environ)
    install(role, Path(environ["SKYBUS_DATA_DIR"]))
    importlib.import_module(f"skybus.{role}.__main__").main()


@dataclass
class Outcome:
    """What there is."""

    status: Status
    queue: list[Item]
    running: Item
    history: list[Item]
    runs: list[str]
    """`{mark}.{attempt}`, one for each run."""


class KeptServer:
    """A server that is started again whenever it dies."""

    def __init__(self, server: NatsServer | Valkey) -> None:
        self._server = server
        self._is_up = asyncio.Event()

    @property
    def process(self) -> subprocess.Popen:
        assert self._server.process
        return self._server.process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def start(self) -> None:
        await self._server.start()
        self._is_up.set()

    async def keep(self) -> None:
        while True:
            await _gone(os.pidfd_open(self.pid))
            self._is_up.clear()
            self.process.wait()
            await self.start()

    async def until_up(self) -> None:
        if self.process.poll() is not None:
            self._is_up.clear()
        await self._is_up.wait()


class House:
    """NATS, Valkey, queue service, auth, supervisor and environment on one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.runs = data_dir / "runs"
        self.runs.mkdir()
        self.nats = NatsServer(data_dir)
        self.valkey = Valkey(data_dir)
        self._environ = {
            "SKYBUS_DATA_DIR": str(data_dir),
            "SKYBUS_REDIS_URL": self.valkey.url,
            "SKYBUS_SPARE": "false",
            "SKYBUS_STACK_RUN": uuid.uuid4().hex,
            "SKYBUS_STARTUP_DIR": str(STARTUP),
            "SKYBUS_TEST_ROOT": str(ROOT),
            "SKYBUS_TEST_RUNS": str(self.runs),
        }
        self._servers = {"nats": KeptServer(self.nats), "valkey": KeptServer(self.valkey)}
        self._processes: dict[str, Any] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._may_start = {role: asyncio.Event() for role in SERVICES}
        self.client: Client
        self.bus: Bus
        """As the queue service has it."""

    @asynccontextmanager
    async def up(self) -> AsyncIterator[House]:
        async with AsyncExitStack() as stack:
            stack.callback(self._end)
            for server in self._servers.values():
                await server.start()
            self._keepers = [
                *(asyncio.create_task(self._keep(role)) for role in SERVICES),
                *(asyncio.create_task(server.keep()) for server in self._servers.values()),
            ]
            stack.push_async_callback(end_tasks, self._keepers)
            self.client = await stack.enter_async_context(
                Client.connect(data_dir=self.data_dir, connect_timeout=PATIENCE)
            )
            self.bus = await stack.enter_async_context(self.nats.bus("queue"))
            await self.client.wait("idle", PATIENCE)
            await self.client.open_environment(timeout=PATIENCE)
            yield self

    def pid_of(self, role: str) -> int:
        if role == "environment":
            return int(orjson.loads((self.data_dir / "worker.json").read_bytes())["pid"])
        if role in self._servers:
            return self._servers[role].pid
        return self._processes[role].pid

    def died(self, role: str) -> asyncio.Future[None]:
        """The end of the process that lives now."""
        return asyncio.ensure_future(_gone(os.pidfd_open(self.pid_of(role))))

    async def kill(self, role: str) -> None:
        died = self.died(role)
        os.kill(self.pid_of(role), signal.SIGKILL)
        await died

    @asynccontextmanager
    async def without(self, role: str) -> AsyncIterator[None]:
        """Have a service dead for the time of the block."""
        self._may_start[role].clear()
        await self.kill(role)
        try:
            yield
        finally:
            self._may_start[role].set()

    def order(self, role: str, point: Point | None, victim: str) -> Path:
        """Have a process trace its steps from now on, and a process die at a point; returns the file with the trace."""
        uid = uuid.uuid4().hex
        trace = self.data_dir / f"trace-{uid}"
        Order(uid, str(trace), point, 0 if victim == role else self.pid_of(victim)).write(
            order_file(self.data_dir, role)
        )
        return trace

    def withdraw(self, role: str) -> bool:
        """Let nothing be counted any more; tells whether the order was still there."""
        file = order_file(self.data_dir, role)
        was_there = file.exists()
        file.unlink(missing_ok=True)
        return was_there

    async def add(self, mark: str, pos: str = "back") -> str:
        """Put an item into the queue, however often that takes, and return its uid."""
        request = made(ItemAdd, item=plan_item("leave_mark", mark), pos=pos)
        return (await self._insist(ITEM_ADD, request)).item["item_uid"]

    async def start(self) -> None:
        await self._insist(QUEUE_START, QueueControl())

    async def start_until_it_runs(self) -> None:
        """Start the queue, and wait until a plan has begun."""
        async with aclosing(self.client.events("doc.start.*")) as starts:
            started = asyncio.ensure_future(anext(starts))
            await self.start()
            await started

    async def until(self, condition: Callable[[Status], bool]) -> Status:
        return await self.client.wait(condition, PATIENCE)

    async def until_drained(self) -> None:
        """Wait until the queue service has dealt with each report; there is no event for it."""
        while not await self._is_drained():
            await asyncio.sleep(0.02)

    async def until_servers_are_up(self) -> None:
        for server in self._servers.values():
            await server.until_up()

    async def look(self) -> Outcome:
        queue = await self.client.queue()
        return Outcome(
            status=await self.client.status(),
            queue=queue.items,
            running=queue.running_item,
            history=(await self.client.history()).items,
            runs=[file.name.rpartition(".")[0] for file in self.runs.iterdir() if "." in file.name],
        )

    async def forget(self) -> None:
        """Begin the next case with nothing."""
        (self.runs / HOLD).unlink(missing_ok=True)
        await self.client.clear()
        await self.client.clear_history()
        for file in self.runs.iterdir():
            file.unlink()

    def last_words(self) -> str:
        """The end of each log."""
        logs = [*self.data_dir.glob("*.log"), *self.data_dir.glob("environments/*/environment.log")]
        return "\n".join(f"-- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in sorted(logs))

    async def _insist(self, endpoint: Endpoint[Req, Rep], request: Req) -> Rep:
        request_id = uuid.uuid4().hex
        while True:
            try:
                return await self.client.call(endpoint, request, timeout=ATTEMPT, request_id=request_id)
            except GaveUpError:
                continue

    async def _is_drained(self) -> bool:
        await self.bus.wait_connected()
        try:
            info = await self.bus.jetstream.consumer_info(self.bus.subjects.life_stream, "queue")
        except (nats.errors.Error, UnavailableError):  # the server has died this very moment
            return False
        return not info.num_pending and not info.num_ack_pending

    async def _keep(self, role: str) -> None:
        """Start a service, and start it again whenever it dies."""
        self._may_start[role].set()
        while True:
            await self._may_start[role].wait()
            log = self.data_dir / f"{role}.log"
            process = FORK.Process(target=serve, args=(role, str(log), self._environ), daemon=True)
            await asyncio.to_thread(process.start)  # the first one waits for the fork server
            self._processes[role] = process
            await readable(process.sentinel)
            process.join()
            process.close()

    def _end(self) -> None:
        for process in self._processes.values():
            with suppress(ValueError):  # it has ended just now, and is closed already
                process.kill()
                process.join()
                process.close()
        kill_processes_of(self.data_dir)
        self.nats.stop()
        self.valkey.stop()


async def _gone(pidfd: int) -> None:
    try:
        await readable(pidfd)
    finally:
        os.close(pidfd)


async def readable(fd: int) -> None:
    """Wait until a file can be read: a process has ended."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)
