"""Real servers for tests: nats-server with the accounts of the embedded stack, and Valkey."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skybus.bus.connection import Bus
from skybus.bus.settings import CREDENTIALS_DIR, LISTEN_FILE, Access, Listen
from skybus.bus.subjects import Subjects
from skybus.bus.tasks import end_tasks
from skybus.stack.accounts import server_config
from skybus.stack.credentials import Identity, ensure_credentials
from skybus.stack.servers import nats_binary, valkey_binary, valkey_config
from tests.ports import free_port
from tests.promises import PATIENCE


async def until_listening(process: subprocess.Popen, connect) -> None:
    """Wait until a server takes connections: there is no event for it before the first connection."""
    async with asyncio.timeout(PATIENCE):
        while True:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            try:
                _, writer = await connect()
            except OSError:
                await asyncio.sleep(0.003)
            else:
                writer.close()
                return


@dataclass
class NatsServer:
    """A nats-server on a data directory, which other processes find by its listen.json."""

    data_dir: Path
    instrument: str = "sim"
    port: int = field(default_factory=free_port)
    other: dict[str, Any] = field(default_factory=dict)
    """Entries of the configuration in the place of the usual ones."""
    process: subprocess.Popen | None = None

    def __post_init__(self) -> None:
        self.subjects = Subjects(self.instrument)
        self.identities: dict[str, Identity] = ensure_credentials(self.data_dir)
        self.url = f"nats://127.0.0.1:{self.port}"
        listen = Listen(instrument=self.instrument, nats=self.url)
        (self.data_dir / LISTEN_FILE).write_text(listen.model_dump_json())
        self.credentials_dir = self.data_dir / CREDENTIALS_DIR

    async def start(self) -> None:
        config = self.data_dir / "nats.conf"
        config.write_text(
            server_config(
                f"127.0.0.1:{self.port}", self.data_dir / "jetstream", self.subjects, self.identities, self.other
            )
        )
        with (self.data_dir / "nats.log").open("ab") as log:
            self.process = subprocess.Popen([nats_binary(), "-c", config], stderr=log)
        await until_listening(self.process, lambda: asyncio.open_connection("127.0.0.1", self.port))

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None

    def access(self, name: str) -> Access:
        return Access(url=self.url, credentials=self.identities[name].credentials)

    def make_bus(self, name: str) -> Bus:
        """A bus that is not connected yet."""
        return Bus(f"test-{name}", self.subjects, lambda: self.access(name))

    @asynccontextmanager
    async def bus(self, name: str) -> AsyncIterator[Bus]:
        async with running(self.make_bus(name)) as bus:
            yield bus


@asynccontextmanager
async def running(bus: Bus) -> AsyncIterator[Bus]:
    """Hold the bus connected for the time of the block."""
    task = asyncio.create_task(bus.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await bus.wait_connected()
        yield bus
    finally:
        await end_tasks([task])


@dataclass
class Valkey:
    """A Valkey on a unix socket."""

    folder: Path
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/valkey.sock"

    async def start(self) -> None:
        config = self.folder / "valkey.conf"
        config.write_text(valkey_config(self.folder, self.folder / "valkey.sock"))
        with (self.folder / "valkey.log").open("ab") as log:
            self.process = subprocess.Popen([valkey_binary(), config], stdout=log)
        await until_listening(self.process, lambda: asyncio.open_unix_connection(self.folder / "valkey.sock"))

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None
