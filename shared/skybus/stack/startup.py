"""Where startup code is, and the files that belong to it."""

from __future__ import annotations

import os
import shutil
import uuid
from importlib.util import find_spec
from pathlib import Path

SIMULATED = "SKYBUS_SIM_PROFILE"
"""Names another simulated startup directory than the built-in one."""
_WORKER = find_spec("skybus.worker")
BUILT_IN = Path(next(iter((_WORKER and _WORKER.submodule_search_locations) or [""]))) / "profile_sim"
"""The simulated startup directory that comes with the worker."""
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


def simulated_dir() -> Path:
    """The startup directory that is taken where nothing else is asked for."""
    named = os.environ.get(SIMULATED)
    return Path(named).absolute() if named else BUILT_IN


def make_demo_profile(startup_dir: Path) -> None:
    """Make a startup directory below an IPython profile a copy of the simulated one; a former copy is replaced."""
    startup_dir.parent.mkdir(parents=True, exist_ok=True)
    new, old = (startup_dir.with_name(f"{startup_dir.name}.{uuid.uuid4().hex}") for _ in range(2))
    shutil.copytree(simulated_dir(), new, ignore=shutil.ignore_patterns("__pycache__"))
    if startup_dir.exists():
        startup_dir.rename(old)
    new.rename(startup_dir)
    shutil.rmtree(old, ignore_errors=True)
