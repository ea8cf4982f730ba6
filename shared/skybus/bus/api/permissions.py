"""Endpoints of the permissions of user groups."""

from __future__ import annotations

from typing import Any

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message, Request


class Permissions(Message):
    """The permissions that hold, as in `user_group_permissions.yaml`."""

    user_group_permissions: dict[str, Any]


class PermissionsSet(Request):
    """Put other permissions in the place of the present ones, also over restarts."""

    user_group_permissions: dict[str, Any]
    lock_key: str | None = None


class PermissionsReload(Request):
    """Read the permissions again, and work out anew what each group may use."""

    restore_plans_devices: bool = False
    """Read also the existing plans and devices from their file."""
    restore_permissions: bool = True
    """From the file; otherwise those that were set last hold on."""
    lock_key: str | None = None


class PermissionsTaken(Message):
    """Permissions hold."""

    warnings: list[str] = []
    """Lines that cannot be read: such a line allows nothing, or forbids everything."""


PERMISSIONS_GET = Endpoint("permissions.get", Empty, Permissions)
PERMISSIONS_SET = Endpoint("permissions.set", PermissionsSet, PermissionsTaken, changes=True)
PERMISSIONS_RELOAD = Endpoint("permissions.reload", PermissionsReload, PermissionsTaken, changes=True)
