"""Holds the present catalogue: loaded at the start, fetched from the environment whenever it may have changed."""

from __future__ import annotations

import asyncio
import base64
import binascii

import nats.errors
import structlog
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from skybus.auth.catalogue import Catalogue, PackedCatalogue, unknown_catalogue, unpack_catalogue
from skybus.auth.catalogue_store import load_catalogue, save_catalogue
from skybus.auth.permissions import UserGroupPermissions
from skybus.bus.api.internal import (
    ENVIRONMENT_CATALOG,
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    CatalogBytes,
    CatalogPart,
    EnvironmentState,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import ConflictError, SkybusError, UnavailableError
from skybus.bus.messages import Empty, decode

log = structlog.get_logger()

RETRY = 3.0
"""Seconds until a fetch that has failed is tried again."""


class CatalogueKeeper:
    """The catalogue, and what keeps it up to date.

    The environment's `state` messages are hints that there may be something new; so is a new connection.
    """

    def __init__(self, bus: Bus, permissions: UserGroupPermissions) -> None:
        self._bus = bus
        self._permissions = permissions
        self._saved_uid = ""
        self._may_be_new = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self.catalogue: Catalogue = unknown_catalogue(permissions)

    async def listen(self) -> None:
        """Register on the bus; to be done before it connects, and before the service is registered on it."""
        self._bus.on_connect.append(self._on_connect)
        await self._bus.subscribe(self._bus.subjects.internal(ENVIRONMENT_STATE_TOPIC), self._on_state)

    async def run(self) -> None:
        """Fetch the environment's catalogue whenever there may be a new one, until cancelled."""
        while True:
            await self._may_be_new.wait()
            self._may_be_new.clear()
            await self._bus.wait_connected()
            waiting, self._waiting = self._waiting, []
            try:
                await self._catch_up()
                _tell(waiting, None)
            except (SkybusError, nats.errors.Error, OSError, TimeoutError) as error:
                _tell(waiting, UnavailableError(f"the catalogue could not be read: {error}"))
                log.warning("the catalogue could not be fetched or kept", reason=str(error), retry_seconds=RETRY)
                asyncio.get_running_loop().call_later(RETRY, self._may_be_new.set)

    async def refresh(self) -> None:
        """Have what the environment has now.

        Raises:
            UnavailableError: it could not be read or kept; that is tried again.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._may_be_new.set()
        await waiter

    async def _on_connect(self, connection: Connection) -> None:
        if not self.catalogue.is_known:
            await self._load(connection)
        await self._announce()
        self._may_be_new.set()

    async def _on_state(self, message: Msg) -> None:
        if self._saved_uid and self._saved_uid.encode() in message.data:
            return  # nothing new, as nearly always: not worth reading
        state = decode(EnvironmentState, message.data)
        if state.catalog_uid not in ("", self._saved_uid):
            self._may_be_new.set()

    async def _load(self, connection: Connection) -> None:
        kept = await load_catalogue(connection.jetstream(), self._bus.subjects)
        if kept is None:
            return
        try:
            self.catalogue = await asyncio.to_thread(unpack_catalogue, self._permissions, kept)
        except SkybusError as error:
            log.warning("the catalogue that was kept is of no use", reason=error.message)
        else:
            self._saved_uid = kept.catalog_uid

    async def _catch_up(self) -> None:
        try:
            state = await self._bus.call(ENVIRONMENT_STATE, Empty())
        except UnavailableError:
            return  # no environment; one that opens or comes back says so
        if state.catalog_uid not in ("", self._saved_uid):
            await self._take(await _fetch(self._bus))

    async def _take(self, new: PackedCatalogue) -> None:
        before = self.catalogue.uids
        self.catalogue = await asyncio.to_thread(unpack_catalogue, self._permissions, new)
        log.info("catalogue taken", plans=len(self.catalogue.plans), devices=len(self.catalogue.devices))
        try:
            await save_catalogue(self._bus.jetstream, self._bus.subjects, new)
            self._saved_uid = new.catalog_uid
        finally:  # it is served, whether or not it could be kept
            if self.catalogue.uids != before:
                await self._announce()

    async def _announce(self) -> None:
        await self._bus.publish(self._bus.subjects.event("catalog"), self.catalogue.uids)


def _tell(waiting: list[asyncio.Future[None]], error: SkybusError | None) -> None:
    for waiter in waiting:
        if waiter.done():
            continue
        if error:
            waiter.set_exception(error)
        else:
            waiter.set_result(None)


async def _fetch(bus: Bus) -> PackedCatalogue:
    """Read the environment's catalogue part by part."""
    part = await bus.call(ENVIRONMENT_CATALOG, CatalogPart(), timeout=10)
    uid, pieces = part.catalog_uid, [_piece(part)]
    for number in range(1, part.parts):
        part = await bus.call(ENVIRONMENT_CATALOG, CatalogPart(part=number), timeout=10)
        if part.catalog_uid != uid:
            raise ConflictError("the catalogue of the environment has changed while it was read")
        pieces.append(_piece(part))
    return PackedCatalogue(uid, b"".join(pieces))


def _piece(part: CatalogBytes) -> bytes:
    try:
        return base64.b64decode(part.data, validate=True)
    except binascii.Error as error:
        raise SkybusError(f"a part of the environment's catalogue cannot be read: {error}") from error
