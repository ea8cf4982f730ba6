"""What safety against a loss of power costs: `python benchmarks/power_loss.py`.

Publishes to JetStream under each `sync_interval`, and changes a queue in Valkey under each `appendfsync`, on one server
and on three as `skybus cluster-config` configures them. All are on this machine: they share its disk and its cores.
Medians, so that a machine which does other things as well gives numbers that can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from skybus.bus.connection import Bus
from skybus.bus.settings import BusSettings
from skybus.bus.streams import console_stream, ensure_stream
from skybus.bus.tasks import end_tasks
from skybus.queue.store import Store
from skybus.stack.cluster import Machine, write_cluster
from skybus.stack.servers import nats_binary, valkey_binary

HOST = "127.0.0.1"
BODY = b"x" * 300
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
"""That each line of the table is measured for."""
PATIENCE = 30

Work = Callable[[], Awaitable[object]]


async def main() -> None:
    print(f"{'':50}{'one takes':>15}{'50 at a time':>16}")
    for servers in (1, 3):
        for sync in ("2m", "1s", "always"):
            with tempfile.TemporaryDirectory(prefix="sky") as folder:
                await measure_nats(place(Path(folder) / "x", sync_interval=sync), servers, sync)
    for servers in (1, 3):
        for fsync in ("no", "everysec", "always"):
            with tempfile.TemporaryDirectory(prefix="sky") as folder:
                await measure_valkey(place(Path(folder) / "x", appendfsync=fsync), servers, fsync)


def place(folder: Path, sync_interval: str = "1s", appendfsync: str = "always") -> list[Machine]:
    """The files of three machines, with other settings."""
    machines = []
    for _ in range(3):
        ports = [free_port() for _ in range(4)]
        machines.append(Machine(HOST, *ports, home=folder / f"{HOST}_{ports[0]}"))
    write_cluster(folder, "bench", machines)
    for machine in machines:
        change(machine.home / "nats/nats.conf", '"sync_interval": "always"', f'"sync_interval": "{sync_interval}"')
        change(machine.home / "valkey/valkey.conf", "appendfsync always", f"appendfsync {appendfsync}")
    return machines


def change(path: Path, was: str, now: str) -> None:
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, now))


async def measure_nats(machines: list[Machine], servers: int, sync: str) -> None:
    if servers == 1:
        alone(machines[0].home / "nats/nats.conf")
    commands = [[nats_binary(), "-c", str(machine.home / "nats/nats.conf")] for machine in machines[:servers]]
    settings = BusSettings(
        data_dir=machines[0].home, nats_url=f"nats://{HOST}:{machines[0].nats}", instrument="bench", replicas=servers
    )
    bus = Bus("bench", settings.subjects(), lambda: settings.access("queue"), servers)
    stream = console_stream(bus.subjects, 3600, 1 << 30)
    bus.on_connect.append(lambda connection: ensure_stream(connection.jetstream(), stream, servers))
    with running(commands):
        task = asyncio.create_task(bus.run())
        async with asyncio.timeout(PATIENCE):
            await bus.wait_connected()
        jetstream = bus.jetstream
        await show(
            f"JetStream, {servers} server(s), sync_interval {sync}",
            lambda: jetstream.publish(bus.subjects.console("bench"), BODY),
        )
        await end_tasks([task])


def alone(config: Path) -> None:
    """Take the cluster out of a server's configuration."""
    import orjson

    entries = orjson.loads(config.read_bytes())
    del entries["cluster"]
    config.write_bytes(orjson.dumps(entries))


async def measure_valkey(machines: list[Machine], servers: int, fsync: str) -> None:
    if servers == 1:
        change(machines[0].home / "valkey/valkey.conf", "min-replicas-to-write 1", "min-replicas-to-write 0")
    config = machines[0].home / "valkey/valkey.conf"
    password = next(line.split()[1] for line in config.read_text().splitlines() if line.startswith("requirepass"))
    commands = [[valkey_binary(), str(machine.home / "valkey/valkey.conf")] for machine in machines[:servers]]
    with running(commands):
        async with stored(f"redis://:{password}@{HOST}:{machines[0].valkey}", copies=servers > 1) as store:
            numbers = iter(range(10_000_000))
            lines = [[("HSET", "items", str(number % 1000), BODY)] for number in range(1000)]

            async def commit() -> None:
                number = next(numbers)
                await store.commit(lines[number % 1000], number)

            words = f"Valkey, {servers} server(s), appendfsync {fsync}" + (", WAIT 1" if servers > 1 else "")
            await show(words, commit, one_only=True)


@asynccontextmanager
async def stored(url: str, *, copies: bool) -> AsyncIterator[Store]:
    """A store whose changes are taken."""
    store = Store.at(url, "bench")
    replicated = Store(store._redis, store._prefix, copies=int(copies))
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(Exception):  # the servers are starting
                await replicated.take_over()
                break
            await asyncio.sleep(0.1)
    yield replicated
    await store.close()


@contextlib.contextmanager
def running(commands: list[list[str]]):
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def show(what: str, work: Work, *, one_only: bool = False) -> None:
    each = await median(work)
    line = f"{what:<50}{each * 1000:>12.2f} ms"
    if not one_only:
        batch = await median(lambda: asyncio.gather(*(work() for _ in range(50))))
        line += f"{50 / batch:>14,.0f}/s"
    print(line, flush=True)


async def median(work: Work) -> float:
    """Seconds that it takes."""
    for _ in range(20):
        await work()
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        before = time.perf_counter()
        await work()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()[1]


if __name__ == "__main__":
    import structlog

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    asyncio.run(main())
