"""Keeps the catalogue over restarts of everything: an object in JetStream."""

from __future__ import annotations

import asyncio

from nats.js import JetStreamContext
from nats.js.api import ObjectMeta
from nats.js.errors import BucketNotFoundError, ObjectNotFoundError
from nats.js.object_store import ObjectStore

from skybus.auth.catalogue import PackedCatalogue
from skybus.bus.subjects import Subjects

_NAME = "catalog"
_PATIENCE = 10.0
"""Seconds until the object must have come."""


async def save_catalogue(jetstream: JetStreamContext, subjects: Subjects, catalogue: PackedCatalogue) -> None:
    """Keep the catalogue in place of the one before; whoever reads meanwhile gets one or the other."""
    store = await _bucket(jetstream, subjects)
    await store.put(_NAME, catalogue.packed, ObjectMeta(description=catalogue.catalog_uid))


async def load_catalogue(jetstream: JetStreamContext, subjects: Subjects) -> PackedCatalogue | None:
    """Read the catalogue that was kept last, if there is one."""
    store = await _bucket(jetstream, subjects)
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await store.get(_NAME)
    except ObjectNotFoundError:
        return None
    return PackedCatalogue(found.info.description or "", found.data or b"")


async def _bucket(jetstream: JetStreamContext, subjects: Subjects) -> ObjectStore:
    name = f"AUTH_{subjects.inst}"
    try:
        return await jetstream.object_store(name)
    except BucketNotFoundError:
        return await jetstream.create_object_store(name, description="the catalogue of plans and devices")
