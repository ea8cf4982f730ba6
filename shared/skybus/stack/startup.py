"""Where startup code and the permissions that belong to it are."""

from __future__ import annotations

import os
from pathlib import Path

SIMULATED = "SKYBUS_SIM_PROFILE"
"""Names another simulated startup directory than the built-in one."""
PERMISSIONS_FILE = "user_group_permissions.yaml"


def permissions_beside(startup_dir: Path | None) -> Path | None:
    """The permissions that lie in the startup directory; without them the built-in ones hold."""
    folder = startup_dir or os.environ.get(SIMULATED)
    file = Path(folder).resolve() / PERMISSIONS_FILE if folder else None
    return file if file and file.exists() else None
