"""Where startup code is, and the files that belong to it."""

from __future__ import annotations

import os
from pathlib import Path

SIMULATED = "SKYBUS_SIM_PROFILE"
"""Names another simulated startup directory than the built-in one."""
PERMISSIONS_FILE = "user_group_permissions.yaml"
EXISTING_FILE = "existing_plans_and_devices.yaml"


def permissions_beside(startup_dir: Path | None) -> Path | None:
    """The permissions that lie in the startup directory; without them the built-in ones hold."""
    return _beside(startup_dir, PERMISSIONS_FILE)


def existing_beside(startup_dir: Path | None) -> Path | None:
    """The existing plans and devices that lie in the startup directory; without them those known last count."""
    return _beside(startup_dir, EXISTING_FILE)


def _beside(startup_dir: Path | None, name: str) -> Path | None:
    folder = startup_dir or os.environ.get(SIMULATED)
    file = Path(folder).resolve() / name if folder else None
    return file if file and file.exists() else None
