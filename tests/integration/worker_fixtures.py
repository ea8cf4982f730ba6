"""A real `skybus-worker` with its environment, and what it has put into the streams."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from nats.aio.msg import Msg
from nats.js.api import RawStreamMsg

from skybus.bus.api.internal import (
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    PLAN_RUN,
    TASK_RUN,
    WORKER_OPEN,
    WORKER_STATE,
    EnvironmentOpen,
    EnvironmentState,
    PlanAccepted,
    PlanRun,
    TaskAccepted,
    TaskRun,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.json_values import read_json
from skybus.bus.messages import Empty, decode
from skybus.bus.streams import console_stream, docs_stream, ensure_stream, life_stream
from tests.promises import PATIENCE
from tests.servers import NatsServer

WORKER = Path(sys.executable).with_name("skybus-worker")
STARTUP = Path(__file__).parent / "startup_for_worker"


def gate_in(folder: Path) -> Path:
    """A FIFO at which a plan waits until something is written."""
    gate = folder / f"gate-{uuid.uuid4()}"
    os.mkfifo(gate)
    return gate


async def open_gate(gate: Path) -> None:
    """Let the plan that waits there, or soon will, go on."""
    await asyncio.to_thread(gate.write_bytes, b"")


def plan(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A queue item."""
    return {
        "item_type": "plan",
        "name": name,
        "args": list(args),
        "kwargs": kwargs,
        "item_uid": str(uuid.uuid4()),
        "user": "ada",
        "user_group": "primary",
    }


def function(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A task that calls a function."""
    return {"kind": "function", "name": name, "args": list(args), "kwargs": kwargs}


def script(text: str, *, update_lists: bool = True, update_re: bool = False) -> dict[str, Any]:
    """A task that runs a script."""
    return {"kind": "script", "script": text, "update_lists": update_lists, "update_re": update_re}


@dataclass
class Seen:
    """Messages that came, and a way to wait for more."""

    messages: list[Msg] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, message: Msg) -> None:
        async with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    async def until(self, condition: Callable[[list[Msg]], Any], seconds: float = PATIENCE) -> Any:
        """Wait until the condition gives something, and return that."""
        async with asyncio.timeout(seconds), self.changed:
            while not (found := condition(self.messages)):
                await self.changed.wait()
            return found

    async def report(self, kind: str, seconds: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """Wait for a life report."""
        return await self.until(lambda messages: _report(messages, kind, fields), seconds)

    def bodies(self) -> list[dict[str, Any]]:
        return [read_json(message.data) for message in self.messages]


def _report(messages: list[Msg], kind: str, fields: dict[str, Any]) -> dict[str, Any] | None:
    for message in messages:
        body = read_json(message.data)
        if body["kind"] == kind and all(body[name] == value for name, value in fields.items()):
            return body
    return None


@dataclass
class House:
    """A bus as the queue service has it, and everything that comes from the worker."""

    bus: Bus
    life: Seen = field(default_factory=Seen)
    console: Seen = field(default_factory=Seen)
    documents: Seen = field(default_factory=Seen)
    states: list[EnvironmentState] = field(default_factory=list)
    state_changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _seen: int = 0
    """How many of the states `until_state` has looked at."""

    async def watch(self) -> None:
        subjects = self.bus.subjects
        await self.bus.subscribe(subjects.internal(ENVIRONMENT_STATE_TOPIC), self._on_state)
        await self.bus.subscribe(subjects.life(">"), self.life.take)
        await self.bus.subscribe(subjects.event("console.>"), self.console.take)
        await self.bus.subscribe(subjects.event("doc.>"), self.documents.take)

    async def until_state(
        self, condition: Callable[[EnvironmentState], bool], seconds: float = PATIENCE
    ) -> EnvironmentState:
        """Wait for a state, however soon another follows it; each call goes on behind what the last one found."""
        async with asyncio.timeout(seconds), self.state_changed:
            while True:
                while self._seen == len(self.states):
                    await self.state_changed.wait()
                self._seen += 1
                if condition(state := self.states[self._seen - 1]):
                    return state

    async def open(self, seconds: float = PATIENCE) -> str:
        """Open an environment and wait until it is open."""
        return (await self.opened(seconds))["environment_id"]

    async def opened(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Open an environment and return its report of that."""
        environment_id = str(uuid.uuid4())
        await self.bus.call(WORKER_OPEN, EnvironmentOpen(environment_id=environment_id))
        opened = await self.life.report("opened", seconds, environment_id=environment_id)
        assert opened["success"], opened
        return opened

    async def start(self, item: dict[str, Any]) -> str:
        """Begin to run an item and return the attempt."""
        attempt = str(uuid.uuid4())
        assert await self.run(attempt, item) == PlanAccepted(outcome="started")
        return attempt

    async def run(self, attempt: str, item: dict[str, Any]) -> PlanAccepted:
        return await self.bus.call(PLAN_RUN, PlanRun(attempt=attempt, item=item))

    async def finish(self, item: dict[str, Any]) -> dict[str, Any]:
        """Run an item and return its report."""
        return await self.life.report("report", attempt=await self.start(item))

    async def start_task(self, task: dict[str, Any], *, background: bool = False) -> str:
        """Begin a task and return its uid."""
        uid = str(uuid.uuid4())
        assert (await self.run_task(uid, task, background=background)).outcome == "started"
        return uid

    async def run_task(self, uid: str, task: dict[str, Any], *, background: bool = False) -> TaskAccepted:
        request = {"task_uid": uid, "task": task, "run_in_background": background}
        return await self.bus.call(TASK_RUN, TaskRun.model_validate(request))

    async def task_report(self, uid: str) -> dict[str, Any]:
        """Wait for the report of a task."""
        return await self.life.report("task", task_uid=uid)

    async def finish_task(self, task: dict[str, Any], *, background: bool = False) -> dict[str, Any]:
        """Run a task and return its report."""
        return await self.task_report(await self.start_task(task, background=background))

    async def state(self) -> EnvironmentState:
        return await self.bus.call(ENVIRONMENT_STATE, Empty())

    def text(self, item_uid: str | None = None) -> str:
        """Console output, of an item if one is given."""
        return "".join(
            message.data.decode()
            for message in self.console.messages
            if item_uid in (None, (message.headers or {}).get("Sky-Item"))
        )

    async def until_text(self, text: str, seconds: float = PATIENCE) -> None:
        await self.console.until(lambda _: text in self.text(), seconds)

    async def text_of(self, item: dict[str, Any], until: str) -> str:
        """Console output of an item up to a text that it must contain; streams do not wait for each other."""
        await self.console.until(lambda _: until in self.text(item["item_uid"]))
        return self.text(item["item_uid"])

    async def documents_of(self, run_uid: str) -> list[Msg]:
        """The documents of a run up to its stop document."""

        def found(messages: list[Msg]) -> list[Msg] | None:
            mine = [message for message in messages if message.subject.endswith(run_uid)]
            return mine if mine and ".stop." in mine[-1].subject else None

        return await self.documents.until(found)

    async def _on_state(self, message: Msg) -> None:
        async with self.state_changed:
            self.states.append(decode(EnvironmentState, message.data))
            self.state_changed.notify_all()


@asynccontextmanager
async def house_of(nats: NatsServer) -> AsyncIterator[House]:
    async with nats.bus("queue") as bus:
        jetstream = bus.jetstream
        for config in (
            console_stream(bus.subjects, 3600, 1 << 28),
            docs_stream(bus.subjects),
            life_stream(bus.subjects),
        ):
            await ensure_stream(jetstream, config)
        house = House(bus)
        await house.watch()
        yield house


class WorkerProcess:
    """A supervisor on a data directory; what it leaves behind is killed at the end."""

    def __init__(self, data_dir: Path, **environ: str) -> None:
        self.data_dir = data_dir
        self.environ = {**os.environ, "SKYBUS_DATA_DIR": str(data_dir), "SKYBUS_STARTUP_DIR": str(STARTUP), **environ}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.data_dir / "worker.log").open("ab") as log:
            self.process = subprocess.Popen([str(WORKER)], env=self.environ, stdout=log, stderr=log)

    def send(self, number: int) -> int:
        """Send a signal and return the exit code."""
        assert self.process
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    @property
    def environment_pid(self) -> int:
        return int(orjson.loads((self.data_dir / "worker.json").read_bytes())["pid"])

    def end(self) -> None:
        try:
            pid = self.environment_pid
        except OSError:
            pid = None
        if self.process:
            self.send(signal.SIGKILL)
        if pid:
            os.kill(pid, signal.SIGKILL)

    def log(self) -> str:
        return (self.data_dir / "worker.log").read_text()


@contextmanager
def serving(worker: WorkerProcess) -> Iterator[NatsServer]:
    """Start a supervisor beside a NATS server; both are ended, whatever happens."""
    nats = NatsServer(worker.data_dir)
    asyncio.run(nats.start())
    try:
        worker.start()
        yield nats
    finally:
        worker.end()
        nats.stop()


def lone_worker(data_dir: Path, **environ: str) -> WorkerProcess:
    """A supervisor that keeps no spare process."""
    return WorkerProcess(data_dir, SKYBUS_SPARE="0", **environ)


@contextmanager
def one_environment(make: Callable[..., WorkerProcess] = lone_worker, **environ: str) -> Iterator[NatsServer]:
    """Hold one environment open, in a folder of its own, for all tests of a module: none of them may harm it."""
    with tempfile.TemporaryDirectory(prefix="sky") as folder, serving(make(Path(folder), **environ)) as nats:
        asyncio.run(open_environment(nats))
        yield nats


async def open_environment(nats: NatsServer) -> None:
    """Have an environment opened, for all tests of a module."""
    async with house_of(nats) as house:
        await until_answers(house)
        await house.open()


async def stored(bus: Bus, stream: str) -> list[RawStreamMsg]:
    """Everything that a stream has, in order."""
    state = (await bus.jetstream.stream_info(stream)).state
    return [await bus.jetstream.get_msg(stream, seq) for seq in range(state.first_seq, state.last_seq + 1)]


async def until_answers(house: House) -> None:
    """Wait until the supervisor serves."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await house.bus.call(WORKER_STATE, Empty(), timeout=0.5)
            except UnavailableError:
                await asyncio.sleep(0.01)  # there is no event for it
            else:
                return
