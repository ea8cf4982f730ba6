"""What an environment is made of: versions of Python and its packages, and the commit of the startup code."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
from concurrent.futures import Future
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from skybus.bus.api.events import EnvironmentFacts
from skybus.worker.order import Order

PACKAGES = ("skybus", "bluesky", "ophyd", "ophyd-async", "event-model", "numpy")
GIT_PATIENCE = 2.0
"""Seconds that git has for an answer; network folders can be slow."""


class Origin:
    """What the environment of an order is made of; git is asked while the startup code runs."""

    def __init__(self, order: Order) -> None:
        self._module = order.startup_module
        self._commit = _ask_git(order.startup_script.parent if order.startup_script else order.startup_dir)

    def facts(self) -> EnvironmentFacts:
        """Say it; called when the startup code has run."""
        commit = _ask_git(_folder_of(self._module)) if self._module else self._commit
        return EnvironmentFacts(
            python=platform.python_version(),
            executable=sys.executable,
            versions={name: found for name in PACKAGES if (found := _version(name))},
            startup_commit=_in_time(commit),
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
        done = subprocess.run(command, capture_output=True, timeout=GIT_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def _ask_git(folder: Path | None) -> Future[str | None]:
    """Look for the commit of a folder in a thread that keeps no process alive."""
    commit: Future[str | None] = Future()
    if folder is None:
        commit.set_result(None)
    else:
        threading.Thread(target=_answer, args=(commit, folder), name="git", daemon=True).start()
    return commit


def _answer(commit: Future[str | None], folder: Path) -> None:
    found = None
    try:
        found = commit_of(folder)
    finally:
        commit.set_result(found)


def _in_time(commit: Future[str | None]) -> str | None:
    """The commit, if it is found in the time that git has for its two answers."""
    try:
        return commit.result(2 * GIT_PATIENCE)
    except TimeoutError:
        return None


def _folder_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).parent if file else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
