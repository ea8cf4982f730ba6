"""Answers how full each store is: Redis, JetStream, and what this service keeps in memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import nats.errors
from nats.js.api import DiscardPolicy

from skybus.bus.api.stores import STORES_GET, Stores, StoreUse
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Empty
from skybus.bus.service import Handler
from skybus.queue.settings import QueueSettings
from skybus.queue.store import Store


class StoreHandlers:
    """Reads what the servers and this service say of themselves."""

    def __init__(self, bus: Bus, store: Store, settings: QueueSettings) -> None:
        self._bus = bus
        self._store = store
        self._settings = settings

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [Handler(STORES_GET, self.get_stores)]

    async def get_stores(self, _: Empty) -> Stores:
        """Say what is kept, and how much there may be."""
        found = await asyncio.gather(self._in_redis(), self._in_jetstream())
        return Stores(stores=[use for uses in found for use in uses])

    async def _in_redis(self) -> list[StoreUse]:
        settings, (answers, replayed) = self._settings, self._store.used()
        kept = (
            ("kept answers", answers, settings.answers_max_bytes, "SKYBUS_ANSWERS_MAX_BYTES"),
            ("changes of the last minute", replayed, settings.replay_max_bytes, "SKYBUS_REPLAY_MAX_BYTES"),
        )
        uses = [
            StoreUse(name=name, used=used, limit=limit, setting=setting, drops_oldest=True)
            for name, used, limit, setting in kept
        ]
        with suppress(UnavailableError):
            used, limit = await self._store.memory()
            uses.insert(0, StoreUse(name="redis", used=used, limit=limit or None, setting="SKYBUS_VALKEY_MAX_BYTES"))
        return uses

    async def _in_jetstream(self) -> list[StoreUse]:
        names = self._bus.subjects
        streams = {
            names.life_stream: ("reports", "SKYBUS_LIFE_MAX_BYTES"),
            names.docs_stream: ("documents", "SKYBUS_DOCS_MAX_BYTES"),
            names.console_stream: ("console output", "SKYBUS_CONSOLE_MAX_BYTES"),
            f"OBJ_{names.blob_bucket}": ("large replies", "SKYBUS_REPLIES_MAX_BYTES"),
            f"KV_{names.state_bucket}": ("kept values", ""),
            f"OBJ_AUTH_{names.inst}": ("lists and permissions", ""),
        }
        found = await asyncio.gather(self._all(), *(self._stream(stream, *about) for stream, about in streams.items()))
        return [use for use in found if use]

    async def _all(self) -> StoreUse | None:
        with suppress(nats.errors.Error, OSError, UnavailableError):
            used = (await self._bus.jetstream.account_info()).storage
            limit = self._settings.jetstream_max_bytes
            return StoreUse(name="jetstream", used=used, limit=limit, setting="SKYBUS_JETSTREAM_MAX_BYTES")
        return None

    async def _stream(self, stream: str, name: str, setting: str) -> StoreUse | None:
        with suppress(nats.errors.Error, OSError, UnavailableError):
            info = await self._bus.jetstream.stream_info(stream)
            limit = info.config.max_bytes or 0
            return StoreUse(
                name=name,
                used=info.state.bytes,
                limit=limit if limit > 0 else None,
                setting=setting,
                drops_oldest=info.config.discard == DiscardPolicy.OLD,
            )
        return None
