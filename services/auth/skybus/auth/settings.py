"""Settings of the auth service."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Literal

from skybus.auth.permissions import ROOT
from skybus.bus.errors import InvalidError
from skybus.bus.settings import BusSettings

ANY = "*"
BUILT_IN = Path(__file__).parent
"""Where the permissions lie that a site begins with."""


class Reload(StrEnum):
    """When permissions are read from their file though others are kept."""

    NEVER = "NEVER"
    ON_REQUEST = "ON_REQUEST"
    ON_STARTUP = "ON_STARTUP"
    """When the stack starts, and on request; a service without a stack takes each of its starts for that."""


class AuthSettings(BusSettings):
    """Who is in which group, and where it is written what a group may do."""

    user_group_permissions: Path = BUILT_IN
    """The permissions file, or a directory with a `user_group_permissions.yaml`."""
    user_group_permissions_reload: Reload = Reload.ON_STARTUP
    existing_plans_and_devices: Path | None = None
    """The file with the plans and devices that there are until an environment says it, or a directory with an
    `existing_plans_and_devices.yaml`; without it those of the last environment count."""
    stack_run: str = ""
    """Names the run of `skybus up` that has started us; it is the same for each start of a service in that run."""
    user_groups: dict[str, str] = {"operator": ROOT}
    """The group of each verified user."""
    default_group: str = "primary"
    """The group of every other verified user."""
    delegates: dict[str, Literal["*"] | list[str]] = {"bridge": ANY}
    """Users that act for others whom nobody has verified, and the groups that they may claim for them; `*` stands for
    every group of the permissions file. The 0MQ bridge is one: 0MQ does not say who its clients are, and the reference
    lets each of them name the group it likes."""


def check_named_groups(settings: AuthSettings, known_groups: Collection[str]) -> None:
    """See that each group that the settings name has permissions.

    Raises:
        InvalidError: One has none.
    """
    for where, group in _named_groups(settings):
        if group not in known_groups:
            known = ", ".join(sorted(known_groups))
            raise InvalidError(
                f"{where} names user group '{group}', for which there are no permissions (groups: {known})"
            )


def _named_groups(settings: AuthSettings) -> Iterator[tuple[str, str]]:
    """Yield the groups that somebody has set; a site's permissions need not have the group that is the default."""
    yield from ((f"user_groups, user '{user}',", group) for user, group in settings.user_groups.items())
    for delegate, groups in settings.delegates.items():
        yield from ((f"delegates, '{delegate}',", group) for group in groups if groups != ANY)
    if "default_group" in settings.model_fields_set:
        yield "default_group", settings.default_group
