"""The process `skybus-auth`."""

from __future__ import annotations

import structlog
from nats.js import JetStreamContext

from skybus.auth.catalogue_keeper import CatalogueKeeper
from skybus.auth.handlers import AuthHandlers
from skybus.auth.origin import Origin
from skybus.auth.permission_handlers import PermissionHandlers
from skybus.auth.settings import AuthSettings
from skybus.auth.users import configured_users
from skybus.bus import blob
from skybus.bus.ensuring import Ensured
from skybus.bus.notify import tell_ready
from skybus.bus.runtime import Process, run_service
from skybus.bus.service import Service

log = structlog.get_logger()


def main() -> None:
    """Run the auth service."""
    run_service("auth", AuthSettings, serve)


async def serve(settings: AuthSettings, process: Process) -> None:
    """Answer until told to stop.

    Raises:
        InvalidError: The permissions are missing or wrong, or the settings name a group that they do not have.
    """
    bus = process.bus

    async def ensure(jetstream: JetStreamContext) -> None:
        await blob.ensure(jetstream, bus.subjects.blob_bucket, bus.replicas, max_bytes=settings.replies_max_bytes)

    Ensured(bus, ensure)
    origin = Origin(settings)
    keeper = CatalogueKeeper(bus, origin)
    users = configured_users(settings, lambda: keeper.catalogue.groups)
    await keeper.listen()
    table = [*AuthHandlers(users, keeper).table(), *PermissionHandlers(bus, users, origin, keeper).table()]
    service = Service(bus, "auth", table, missing=lambda: keeper.missing)
    await process.connect()
    process.start(keeper.run(), "catalogue")
    tell_ready()
    log.info("ready", groups=sorted(keeper.catalogue.groups))
    await process.stop.wait()
    await service.drain()


if __name__ == "__main__":
    main()
