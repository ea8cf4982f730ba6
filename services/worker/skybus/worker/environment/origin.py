"""What an environment is made of: versions of Python and its packages, and the commit of the startup code."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from skybus.bus.api.events import EnvironmentFacts
from skybus.worker.order import Order

PACKAGES = ("skybus", "bluesky", "ophyd", "ophyd-async", "event-model", "numpy")
GIT_PATIENCE = 2.0
"""Seconds that git has for an answer; network folders can be slow."""


def describe_origin(order: Order) -> EnvironmentFacts:
    """Say what the environment of an order is made of, when its startup code has run."""
    folder = _startup_folder(order)
    return EnvironmentFacts(
        python=platform.python_version(),
        executable=sys.executable,
        versions={name: found for name in PACKAGES if (found := _version(name))},
        startup_commit=commit_of(folder) if folder else None,
    )


def commit_of(folder: Path) -> str | None:
    """The commit of a git checkout, with `-dirty` when files in the folder differ from it; nothing if it is none."""
    commit = _git(folder, "rev-parse", "--short", "HEAD")
    if commit is None:
        return None
    return f"{commit}-dirty" if _git(folder, "status", "--porcelain", "--", ".") else commit


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _startup_folder(order: Order) -> Path | None:
    if order.startup_module:
        file = getattr(sys.modules.get(order.startup_module), "__file__", None)
        return Path(file).parent if file else None
    return order.startup_script.parent if order.startup_script else order.startup_dir


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
