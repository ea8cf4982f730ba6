"""Where IPython keeps profiles, and the startup folder of each; IPython itself is not needed for it."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_PROFILE = "default"
_PREFIX = "profile_"


def startup_folder(profile: str | None, ipython_dir: Path | None) -> Path:
    """The startup folder of a profile."""
    root = ipython_dir or Path(os.environ.get("IPYTHONDIR") or "~/.ipython")
    return root.expanduser().absolute() / f"{_PREFIX}{profile or DEFAULT_PROFILE}" / "startup"


def profile_of(startup_dir: Path) -> tuple[str, Path] | None:
    """The profile whose startup folder this is, and the folder that holds it; nothing if it is another folder."""
    folder = startup_dir.expanduser().absolute()
    home = folder.parent
    name = home.name.removeprefix(_PREFIX)
    if folder.name != "startup" or not home.name.startswith(_PREFIX) or not name:
        return None
    return name, home.parent
