"""Decides where permissions and lists come from: their files, or what was kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from skybus.auth.catalogue import PackedCatalogue
from skybus.auth.existing_file import NO_LISTS, read_existing
from skybus.auth.permissions import UserGroupPermissions, faults, load_permissions, parse_permissions
from skybus.auth.settings import AuthSettings, Reload, check_named_groups
from skybus.auth.store import Record
from skybus.bus.errors import DeniedError, InvalidError, WrongStateError

log = structlog.get_logger()


@dataclass(frozen=True)
class Origin:
    """The files, and when they count.

    A run of the stack begins with the files; what was set or learned since then counts for the rest of that run, also
    when auth itself is started again.
    """

    settings: AuthSettings

    def is_first_start(self, record: Record | None) -> bool:
        """Tell whether nothing was kept in this run of the stack; without a stack each start begins a run."""
        run = self.settings.stack_run
        return record is None or not run or record.stack_run != run

    def permissions_at_start(self, record: Record | None) -> UserGroupPermissions:
        """Return the permissions that hold from the start.

        Raises:
            InvalidError: They would have to come from the file, and it is missing or wrong.
        """
        if record is None or (
            self.settings.user_group_permissions_reload == Reload.ON_STARTUP and self.is_first_start(record)
        ):
            return self._permissions_from_file()
        try:
            return self.accept(record.permissions, origin="the last run")
        except InvalidError as error:
            log.warning("the permissions that were kept are of no use", reason=error.message)
            return self._permissions_from_file()

    def restored_permissions(self) -> UserGroupPermissions:
        """Read the permissions from their file because somebody asks for that.

        Raises:
            DeniedError: That is not allowed here.
            InvalidError: The file is missing or wrong.
        """
        policy = self.settings.user_group_permissions_reload
        if policy == Reload.NEVER:
            raise DeniedError(
                "Restoring user group permissions from disk is not allowed: RE Manager was started with option "
                f"user_group_permissions_reload={policy.value!r}"
            )
        return self._permissions_from_file()

    def accept(self, content: object, *, origin: str = "the request") -> UserGroupPermissions:
        """Validate permissions.

        Raises:
            InvalidError: They are not valid, or lack a group that the settings name.
        """
        return self._checked(parse_permissions(content, origin=origin))

    async def lists_at_start(self, record: Record | None, kept: PackedCatalogue | None) -> PackedCatalogue:
        """Return the lists that hold until an environment has others."""
        if self.settings.existing_plans_and_devices and self.is_first_start(record):
            return await asyncio.to_thread(read_existing, self.settings.existing_plans_and_devices, kept)
        return kept or NO_LISTS

    async def restored_lists(self) -> PackedCatalogue:
        """Read the lists from their file because somebody asks for that.

        Raises:
            WrongStateError: There is no such file here.
        """
        if not self.settings.existing_plans_and_devices:
            raise WrongStateError(
                "Existing plans and devices cannot be restored: no file is set for them "
                "(SKYBUS_EXISTING_PLANS_AND_DEVICES)"
            )
        return await asyncio.to_thread(read_existing, self.settings.existing_plans_and_devices)

    def _permissions_from_file(self) -> UserGroupPermissions:
        return self._checked(load_permissions(self.settings.user_group_permissions))

    def _checked(self, permissions: UserGroupPermissions) -> UserGroupPermissions:
        check_named_groups(self.settings, permissions.user_groups)
        for fault in faults(permissions):
            log.warning("a line of the permissions cannot be read", line=fault)
        return permissions
