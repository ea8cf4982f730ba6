"""The process `skybus-auth`."""

from __future__ import annotations

import structlog
from nats.aio.client import Client as Connection

from skybus.auth.catalogue_keeper import CatalogueKeeper
from skybus.auth.handlers import AuthHandlers
from skybus.auth.permissions import load_permissions
from skybus.auth.settings import AuthSettings
from skybus.auth.users import configured_users
from skybus.bus import blob
from skybus.bus.runtime import Process, run_service, tell_ready
from skybus.bus.service import Service

log = structlog.get_logger()


def main() -> None:
    """Run the auth service."""
    run_service("auth", AuthSettings, serve)


async def serve(settings: AuthSettings, process: Process) -> None:
    """Answer until told to stop.

    Raises:
        InvalidError: The permissions file is missing or wrong, or the settings name a group that it does not have.
    """
    bus = process.bus
    permissions = load_permissions(settings.user_group_permissions)
    users = configured_users(settings, permissions.user_groups)

    async def ensure_blobs(connection: Connection) -> None:
        await blob.ensure(connection.jetstream(), bus.subjects.blob_bucket)

    bus.on_connect.append(ensure_blobs)
    keeper = CatalogueKeeper(bus, permissions)
    await keeper.listen()
    service = Service(bus, "auth", AuthHandlers(users, keeper).table())
    await process.connect()
    process.start(keeper.run(), "catalogue")
    tell_ready()
    log.info("ready", groups=sorted(permissions.user_groups))
    await process.stop.wait()
    await service.drain()


if __name__ == "__main__":
    main()
