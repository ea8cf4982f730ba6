"""`skybus-queue`: the queue service."""

from __future__ import annotations

from skybus.bus.runtime import Process, run_service
from skybus.queue.service import QueueService
from skybus.queue.settings import QueueSettings
from skybus.queue.store import Store


async def serve(settings: QueueSettings, process: Process) -> None:
    """Run the queue service of one instrument."""
    store = Store.at(settings.redis(), process.bus.subjects.inst, settings.redis_prefix, serves=True)
    try:
        await QueueService(store, process.bus, settings).serve(process)
    finally:
        await store.close()


def main() -> None:
    """Run the service; the console script."""
    run_service("queue", QueueSettings, serve)


if __name__ == "__main__":
    main()
