"""Settings of the auth service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skybus.auth.permissions import ROOT
from skybus.bus.settings import BusSettings

ANY = "*"
BUILT_IN = Path(__file__).parent
"""Where the permissions lie that a site begins with."""


class AuthSettings(BusSettings):
    """Who is in which group, and where it is written what a group may do."""

    user_group_permissions: Path = BUILT_IN
    """The permissions file, or a directory with a `user_group_permissions.yaml`."""
    user_groups: dict[str, str] = {"operator": ROOT}
    """The group of each verified user."""
    default_group: str = "primary"
    """The group of every other verified user."""
    delegates: dict[str, Literal["*"] | list[str]] = {"bridge": ANY}
    """Users that act for others whom nobody has verified, and the groups that they may claim for them; `*` stands for
    every group of the permissions file. The 0MQ bridge is one: 0MQ does not say who its clients are, and the reference
    lets each of them name the group it likes."""
