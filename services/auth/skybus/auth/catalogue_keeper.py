"""Holds the present lists and permissions: read at the start, changed by request, fetched from the environment."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time

import nats.errors
import structlog
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from skybus.auth.catalogue import (
    FIRST,
    Catalogue,
    Changes,
    PackedCatalogue,
    content_uid,
    renewed,
    unpack_catalogue,
)
from skybus.auth.done import Asked, Done, with_done
from skybus.auth.existing_file import NO_LISTS
from skybus.auth.origin import Origin
from skybus.auth.permissions import UserGroupPermissions, permissions_dict
from skybus.auth.store import AuthStore, Record
from skybus.bus.api.events import PermissionsChanged
from skybus.bus.api.health import Absence
from skybus.bus.api.internal import (
    ENVIRONMENT_CATALOG,
    ENVIRONMENT_STATE,
    ENVIRONMENT_STATE_TOPIC,
    CatalogBytes,
    CatalogPart,
    EnvironmentState,
)
from skybus.bus.bodies import LARGEST_PACKED_CATALOGUE
from skybus.bus.connection import Bus
from skybus.bus.ensuring import Ensured
from skybus.bus.errors import ConflictError, SkybusError, TooLargeError, UnavailableError
from skybus.bus.messages import Empty, decode
from skybus.bus.provenance import is_event

log = structlog.get_logger()

RETRY = 3.0
"""Seconds until a fetch that has failed is tried again."""


CATALOGUE = "catalogue"
_FAULT = "auth could not read or keep the plans and devices of the environment"


class CatalogueKeeper:
    """The catalogue, and what keeps it up to date.

    The environment's `state` messages are hints that there may be something new; so is a new connection.
    """

    def __init__(self, bus: Bus, origin: Origin) -> None:
        self._bus = bus
        self._origin = origin
        self._catalogue: Catalogue | None = None
        self._done: Done = {}
        self._environment_uid = ""
        """Of the environment's lists that were taken last."""
        self._may_be_new = asyncio.Event()
        self._fault: Absence | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._changing = asyncio.Lock()

    @property
    def catalogue(self) -> Catalogue:
        """The present lists and permissions.

        Raises:
            UnavailableError: They have not been read yet.
        """
        if self._catalogue is None:
            raise UnavailableError("permissions and lists are being read")
        return self._catalogue

    @property
    def missing(self) -> dict[str, Absence]:
        """Why plans and devices are not those of the environment, if so."""
        return {CATALOGUE: self._fault} if self._fault else {}

    def is_done(self, asked: Asked) -> bool:
        """Whether a request has changed permissions or lists before.

        Raises:
            ConflictError: another one has, under the same id.
        """
        return asked.is_in(self._done)

    async def listen(self) -> None:
        """Register on the bus; to be done before it connects, and before the service is registered on it."""
        Ensured(self._bus, lambda jetstream: AuthStore(jetstream, self._bus.subjects).ensure_bucket(self._bus.replicas))
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
                self._fault = None
                _tell(waiting, None)
            except (SkybusError, nats.errors.Error, OSError, TimeoutError) as error:
                self._fault = self._fault or Absence(why=f"{_FAULT}: {error}", since=time.time())
                _tell(waiting, UnavailableError(f"{_FAULT}: {error}"))
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

    async def set_permissions(self, permissions: UserGroupPermissions, asked: Asked) -> None:
        """Let other permissions hold from now on, and over restarts; the same ones change nothing.

        Args:
            permissions: Other ones.
            asked: The request; it is not carried out again.

        Raises:
            UnavailableError: They could not be kept, and do not hold.
        """
        async with self._changing:
            if self.is_done(asked):
                return
            if permissions_dict(permissions) != permissions_dict(self.catalogue.permissions):
                await self._change(permissions, asked)
            elif asked.key:
                await self._keep(self.catalogue, asked)

    async def renew(
        self, permissions: UserGroupPermissions | None, lists: PackedCatalogue | None, asked: Asked
    ) -> None:
        """Work out anew what each group may use, and give the lists new uids even if nothing is different.

        Args:
            permissions: Other ones; by default the present ones hold on.
            lists: Other lists, which stay until the environment has new ones.
            asked: The request; it is not carried out again.

        Raises:
            UnavailableError: What changes could not be kept, and does not hold.
        """
        async with self._changing:
            if not self.is_done(asked):
                await self._change(permissions or self.catalogue.permissions, asked, lists)

    async def _change(
        self, permissions: UserGroupPermissions, asked: Asked, lists: PackedCatalogue | None = None
    ) -> None:
        before = self.catalogue
        if lists:
            changes = Changes(before.changes.existing + 1, before.changes.allowed + 1)
            after = await asyncio.to_thread(unpack_catalogue, permissions, lists, changes)
            await self._store(self._bus.connection).save_catalogue(lists)
        else:
            after = await asyncio.to_thread(renewed, before, permissions)
        await self._keep(after, asked)
        self._catalogue = after
        log.info("permissions and lists renewed", groups=sorted(permissions.user_groups), plans=len(after.plans))
        await self._announce()

    async def _keep(self, catalogue: Catalogue, asked: Asked) -> None:
        done = with_done(self._done, asked, self._origin.settings.repeat_window)
        await self._store(self._bus.connection).save_record(self._record(catalogue, done))
        self._done = done

    async def _on_connect(self, connection: Connection) -> None:
        if self._catalogue is None:
            await self._begin(self._store(connection))
        await self._announce()
        self._may_be_new.set()

    async def _on_state(self, message: Msg) -> None:
        if not is_event(self._bus.subjects, message):
            return
        if self._environment_uid and self._environment_uid.encode() in message.data:
            return  # nothing new, as nearly always: not worth reading
        state = decode(EnvironmentState, message.data)
        if state.catalog_uid not in ("", self._environment_uid):
            self._may_be_new.set()

    async def _begin(self, store: AuthStore) -> None:
        """Take permissions and lists from the files or from what was kept, and keep what came from the files."""
        record, kept = await store.load_record(), await store.load_catalogue()
        permissions = self._origin.permissions_at_start(record)
        lists = await self._origin.lists_at_start(record, kept)
        changes, self._done = (record.changes, record.done) if record else (FIRST, {})
        try:
            catalogue = await asyncio.to_thread(unpack_catalogue, permissions, lists, changes)
        except SkybusError as error:
            log.warning("the lists to begin with are of no use", reason=error.message)
            lists = NO_LISTS
            catalogue = unpack_catalogue(permissions, lists, changes)
        if lists != (kept or NO_LISTS):
            await store.save_catalogue(lists)
        if record != (new := self._record(catalogue, self._done)):
            await store.save_record(new)
        self._catalogue, self._environment_uid = catalogue, lists.catalog_uid

    async def _catch_up(self) -> None:
        try:
            state = await self._bus.call(ENVIRONMENT_STATE, Empty())
        except UnavailableError:
            return  # no environment; one that opens or comes back says so
        if state.catalog_uid not in ("", self._environment_uid):
            await self._take(await _fetch(self._bus))

    async def _take(self, new: PackedCatalogue) -> None:
        async with self._changing:
            before = self.catalogue
            after = await asyncio.to_thread(unpack_catalogue, before.permissions, new, before.changes)
            log.info("catalogue taken", plans=len(after.plans), devices=len(after.devices))
            self._catalogue = after
            try:
                await self._store(self._bus.connection).save_catalogue(new)
                self._environment_uid = new.catalog_uid
            finally:  # it is served, whether or not it could be kept
                if after.uids != before.uids:
                    await self._announce()

    def _store(self, connection: Connection) -> AuthStore:
        return AuthStore(connection.jetstream(), self._bus.subjects)

    def _record(self, catalogue: Catalogue, done: Done) -> Record:
        return Record(
            permissions=permissions_dict(catalogue.permissions),
            stack_run=self._origin.settings.stack_run,
            existing_changes=catalogue.changes.existing,
            allowed_changes=catalogue.changes.allowed,
            done=dict(done),
        )

    async def _announce(self) -> None:
        """Say what holds; who has heard it before sees it by the uids."""
        catalogue, subjects = self.catalogue, self._bus.subjects
        permissions_uid = content_uid("permissions", permissions_dict(catalogue.permissions))
        await self._bus.publish(subjects.event("permissions"), PermissionsChanged(permissions_uid=permissions_uid))
        await self._bus.publish(subjects.event("catalog"), catalogue.uids)


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
    uid, parts, packed = part.catalog_uid, part.parts, _piece(part)
    for number in range(1, parts):
        part = await bus.call(ENVIRONMENT_CATALOG, CatalogPart(part=number), timeout=10)
        if part.catalog_uid != uid:
            raise ConflictError("the catalogue of the environment has changed while it was read")
        packed += _piece(part)
        if len(packed) > LARGEST_PACKED_CATALOGUE:
            raise TooLargeError(
                f"the catalogue of the environment has more than {LARGEST_PACKED_CATALOGUE:,} bytes, compressed"
            )
    return PackedCatalogue(uid, packed)


def _piece(part: CatalogBytes) -> bytes:
    try:
        return base64.b64decode(part.data, validate=True)
    except binascii.Error as error:
        raise SkybusError(f"a part of the environment's catalogue cannot be read: {error}") from error
