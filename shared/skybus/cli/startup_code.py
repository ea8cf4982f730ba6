"""Whether the startup code that somebody names is there, checked before anything is started."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from skybus.bus.errors import NotFoundError
from skybus.cli.manager.place import Place, profile_dir

_FIND = """
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec

def missing():
    name, *rest = sys.argv[1].split(".")
    spec = find_spec(name)
    for part in rest:
        if spec is None:
            break
        if spec.submodule_search_locations is None:
            return f"{name} is a module and no package"
        if spec.origin and spec.loader and "__path__" in (spec.loader.get_source(spec.name) or ""):
            return ""  # a package that sets its own path knows more than we do
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(part, spec.submodule_search_locations)
    return "" if spec else f"there is no module {name}"

if reason := missing():
    print("skybus-missing:", reason)
"""
"""Finds a module without running any of its packages: startup code belongs in the environment process alone."""
_MISSING = "skybus-missing:"
_PATIENCE = 20.0
"""Seconds that the interpreter has to look for a module."""


def require_startup_folder(place: Place, *, kernel: bool) -> None:
    """Check that the startup directory, or that of the profile, is there.

    Raises:
        NotFoundError: it is not; names it and the option.
    """
    folder = place.startup_dir
    if not folder and _is_profile_named(place, kernel=kernel):
        folder = profile_dir(place.startup_profile, place.ipython_dir)
    if folder:
        options = "--startup-dir, or --startup-profile and --ipython-dir"
        _require("the startup directory", folder, options, is_directory=True)


def require_startup_code(place: Place, python: Path | None, *, kernel: bool) -> None:
    """Check that the startup script or module is there, and the interpreter that is to run it.

    Args:
        place: what is named.
        python: the interpreter of the environments; by default ours.
        kernel: whether an IPython kernel loads it. It runs the files of a profile first, which may say where modules
            are; so a module is not looked for.

    Raises:
        NotFoundError: something is not there; names it and the option.
    """
    if python:
        _require("the Python of the environments", python, "--environment-python", is_directory=False)
    if place.startup_script:
        _require("the startup script", place.startup_script, "--startup-script", is_directory=False)
    if place.startup_module and not kernel:
        _require_module(place.startup_module, python or Path(sys.executable))


def _is_profile_named(place: Place, *, kernel: bool) -> bool:
    """Whether the startup directory of a profile is to be loaded; IPython makes the one that nobody has named."""
    is_alone = not (place.startup_script or place.startup_module)
    return bool(place.startup_profile and (kernel or is_alone)) or bool(place.ipython_dir and is_alone)


def _require(what: str, path: str | Path, option: str, *, is_directory: bool) -> None:
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"{what} {path} is not there ({reason}): check {option}") from None
    if stat.S_ISDIR(mode) != is_directory:
        kind = "no directory" if is_directory else "a directory"
        raise NotFoundError(f"{what} {path} is {kind}: check {option}")


def _require_module(name: str, python: Path) -> None:
    """Refuse a module only if the interpreter says that it is not there; what else is wrong shows when it opens."""
    command = [str(python), "-P", "-c", _FIND, name]
    try:
        said = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=_PATIENCE)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise NotFoundError(f"{python} cannot look for the startup module {name}: {error}") from None
    _, is_missing, reason = said.stdout.rpartition(_MISSING)
    if is_missing:
        raise NotFoundError(
            f"the startup module {name} is not there for {python} ({reason.strip()}): check --startup-module and "
            "PYTHONPATH"
        )
