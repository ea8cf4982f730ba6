"""Answers about permissions: what holds, and its change."""

from __future__ import annotations

import asyncio
from typing import Any

from skybus.auth.catalogue_keeper import CatalogueKeeper
from skybus.auth.done import Asked
from skybus.auth.origin import Origin
from skybus.auth.permissions import faults, permissions_dict
from skybus.auth.users import Users
from skybus.bus.api.internal import LOCK_CHECK, LockCheck
from skybus.bus.api.permissions import (
    PERMISSIONS_GET,
    PERMISSIONS_RELOAD,
    PERMISSIONS_SET,
    Permissions,
    PermissionsReload,
    PermissionsSet,
    PermissionsTaken,
)
from skybus.bus.connection import Bus
from skybus.bus.messages import Empty
from skybus.bus.service import Handler, current_call, log_nothing


class PermissionHandlers:
    """The table of handlers.

    A change needs the group `root` and, if the queue is locked, the key: the queue service says so, and without its
    answer nothing is changed.
    """

    def __init__(self, bus: Bus, users: Users, origin: Origin, keeper: CatalogueKeeper) -> None:
        self._bus = bus
        self._users = users
        self._origin = origin
        self._keeper = keeper

    def table(self) -> list[Handler[Any, Any]]:
        """Who answers what."""
        return [
            Handler(PERMISSIONS_GET, self.get),
            Handler(PERMISSIONS_SET, self.set),
            Handler(PERMISSIONS_RELOAD, self.reload),
        ]

    async def get(self, request: Empty) -> Permissions:
        """Return the permissions that hold."""
        return Permissions(user_group_permissions=permissions_dict(self._keeper.catalogue.permissions))

    async def set(self, request: PermissionsSet) -> PermissionsTaken:
        """Let other permissions hold."""
        asked = Asked.now(PERMISSIONS_SET)
        if self._keeper.is_done(asked):
            log_nothing()
        else:
            await self._require_right(request.lock_key)
            permissions = await asyncio.to_thread(self._origin.accept, request.user_group_permissions)
            await self._keeper.set_permissions(permissions, asked)
        return PermissionsTaken(warnings=faults(self._keeper.catalogue.permissions))

    async def reload(self, request: PermissionsReload) -> PermissionsTaken:
        """Read the permissions, and if wanted the lists, from their files."""
        asked = Asked.now(PERMISSIONS_RELOAD)
        if self._keeper.is_done(asked):
            log_nothing()
        else:
            await self._require_right(request.lock_key)
            restored = self._origin.restored_permissions
            permissions = await asyncio.to_thread(restored) if request.restore_permissions else None
            lists = await self._origin.restored_lists() if request.restore_plans_devices else None
            await self._keeper.renew(permissions, lists, asked)
        return PermissionsTaken(warnings=faults(self._keeper.catalogue.permissions))

    async def _require_right(self, lock_key: str | None) -> None:
        self._users.require_root(current_call().requester.user)
        await self._bus.call(LOCK_CHECK, LockCheck(lock_key=lock_key, queue=True))
