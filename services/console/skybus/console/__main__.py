"""`skybus-console`: keeps the console stream and answers what was printed."""

from __future__ import annotations

from nats.js import JetStreamContext

from skybus.bus import blob
from skybus.bus.ensuring import Ensured
from skybus.bus.notify import tell_ready
from skybus.bus.runtime import Process, run_service
from skybus.bus.service import Service
from skybus.bus.streams import console_stream, ensure_stream
from skybus.console.history import ConsoleHistory
from skybus.console.settings import ConsoleSettings
from skybus.console.stored import StoredStream


async def serve(settings: ConsoleSettings, process: Process) -> None:
    """Serve until told to stop."""
    bus = process.bus
    subjects = bus.subjects

    async def ensure(jetstream: JetStreamContext) -> None:
        stream = console_stream(subjects, settings.max_age_seconds, settings.console_max_bytes)
        await ensure_stream(jetstream, stream, bus.replicas)
        await blob.ensure(jetstream, subjects.blob_bucket, bus.replicas, max_bytes=settings.replies_max_bytes)

    Ensured(bus, ensure)
    history = ConsoleHistory(StoredStream(bus, subjects.console_stream), subjects)
    service = Service(bus, "console", history.table(), missing=dict)
    await process.connect()
    tell_ready()
    await process.stop.wait()
    await service.drain()


def main() -> None:
    """Run the console service."""
    run_service("console", ConsoleSettings, serve)


if __name__ == "__main__":
    main()
