"""`skybus-worker`: the supervisor of the environment process."""

from __future__ import annotations

import os
import signal

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError as NoSuchStreamError

from skybus.bus import room
from skybus.bus.connection import Bus
from skybus.bus.ensuring import Ensured
from skybus.bus.notify import tell_ready
from skybus.bus.runtime import Process, run_service
from skybus.bus.service import Service
from skybus.bus.settings import KEYS
from skybus.bus.streams import DAY, console_stream, docs_stream, ensure_stream, life_stream
from skybus.worker.record import lock_data_dir
from skybus.worker.settings import WorkerSettings
from skybus.worker.supervisor import Supervisor


def main() -> None:
    """Run the service."""
    run_service("worker", WorkerSettings, serve)


async def serve(settings: WorkerSettings, process: Process) -> None:
    """Supervise until told to stop."""
    for key in KEYS:
        os.environ.pop(key, None)  # plan code inherits the rest
    lock = lock_data_dir(settings.data_dir)
    Ensured(process.bus, lambda jetstream: _ensure_streams(settings, process.bus, jetstream))
    supervisor = Supervisor(settings, process.bus, process.start)
    service = Service(process.bus, "worker", supervisor.table(), missing=dict)
    supervisor.take_over()
    await process.connect()
    if process.bus.is_connected:
        tell_ready()
        supervisor.keep_spare_soon()
    await process.stop.wait()
    await service.drain()
    if process.signal == signal.SIGINT:
        await supervisor.take_down()
    supervisor.end()
    lock.close()


async def _ensure_streams(settings: WorkerSettings, bus: Bus, jetstream: JetStreamContext) -> None:
    """Make the streams that the environment writes to."""
    await ensure_stream(jetstream, life_stream(bus.subjects, settings.life_max_bytes), bus.replicas)
    await ensure_stream(jetstream, docs_stream(bus.subjects, max_bytes=settings.docs_max_bytes), bus.replicas)
    try:
        await jetstream.stream_info(bus.subjects.console_stream)
    except NoSuchStreamError:  # the console service, whose it is, has not run yet
        console = console_stream(bus.subjects, max_age=7 * DAY, max_bytes=room.CONSOLE)
        await ensure_stream(jetstream, console, bus.replicas)


if __name__ == "__main__":
    main()
