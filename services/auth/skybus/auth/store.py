"""Keeps lists and permissions over restarts of everything: objects in JetStream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import ObjectMeta
from nats.js.errors import ObjectNotFoundError
from nats.js.object_store import ObjectStore

from skybus.auth.catalogue import Changes, PackedCatalogue
from skybus.auth.done import DoneRequest
from skybus.bus import blob, room
from skybus.bus.errors import SkybusError, UnavailableError, why
from skybus.bus.messages import Message, decode, encode
from skybus.bus.subjects import Subjects

log = structlog.get_logger()

_CATALOGUE, _RECORD = "catalog", "permissions"
_PATIENCE = 10.0
"""Seconds until an object must have come."""


class Record(Message):
    """What is kept beside the lists."""

    permissions: dict[str, Any]
    """As in the permissions file."""
    stack_run: str = ""
    """The run of the stack in which this was written."""
    existing_changes: int = 0
    allowed_changes: int = 0
    done: dict[str, DoneRequest] = {}
    """The requests that have changed something; see done.py."""

    @property
    def changes(self) -> Changes:
        """What makes the uids of the lists new."""
        return Changes(self.existing_changes, self.allowed_changes)


@dataclass(frozen=True)
class AuthStore:
    """The bucket of the auth service on one connection; whoever reads while it writes gets the old or the new."""

    jetstream: JetStreamContext
    subjects: Subjects

    async def save_catalogue(self, catalogue: PackedCatalogue) -> None:
        """Keep these lists in place of those before."""
        await self._save(_CATALOGUE, catalogue.packed, catalogue.catalog_uid)

    async def load_catalogue(self) -> PackedCatalogue | None:
        """Read the lists that were kept last, if there are any."""
        found = await self._load(_CATALOGUE)
        return PackedCatalogue(found.info.description or "", found.data or b"") if found else None

    async def save_record(self, record: Record) -> None:
        """Keep this record in place of the one before."""
        await self._save(_RECORD, encode(record))

    async def load_record(self) -> Record | None:
        """Read the record that was kept last, if there is one that can be read."""
        found = await self._load(_RECORD)
        try:
            return decode(Record, found.data or b"") if found else None
        except SkybusError as error:
            log.warning("what was kept of permissions cannot be read", reason=error.message)
            return None

    async def _save(self, name: str, body: bytes, description: str | None = None) -> None:
        try:
            store = await self._bucket()
            await store.put(name, body, ObjectMeta(description=description))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise UnavailableError(f"JetStream does not keep it: {why(error)}") from error

    async def _load(self, name: str) -> ObjectStore.ObjectResult | None:
        store = await self._bucket()
        try:
            async with asyncio.timeout(_PATIENCE):
                return await store.get(name)
        except ObjectNotFoundError:
            return None

    async def ensure_bucket(self, replicas: int) -> None:
        """Make the bucket if it is not there."""
        words = "lists of plans and devices, permissions"
        await blob.ensure(self.jetstream, self._name, replicas, max_bytes=room.LISTS, ttl=None, description=words)

    @property
    def _name(self) -> str:
        return f"AUTH_{self.subjects.inst}"

    async def _bucket(self) -> ObjectStore:
        return await self.jetstream.object_store(self._name)
