"""Where the startup code is: a directory, module or script, or an IPython profile; contradictions are refused."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skybus.bus.errors import InvalidError

DEMO_PROFILE = "collection_sim"
_SOURCES = ("startup_dir", "startup_module", "startup_script")


@dataclass(frozen=True)
class Place:
    """Where the startup code is; what is not given is `None`."""

    startup_dir: str | None = None
    startup_module: str | None = None
    startup_script: str | None = None
    startup_profile: str | None = None
    ipython_dir: str | None = None
    demo_mode: bool = False
    """Nothing was given: a simulated beamline."""
    beside: str | None = None
    """The directory that by default has the permissions and the list of plans and devices."""


def place_of(flags: Mapping[str, Any], file: Mapping[str, Any], simulated: Path, *, kernel: bool) -> Place:
    """Find out where the startup code is.

    Args:
        flags: values given on the command line.
        file: values given in the configuration.
        simulated: the directory that is taken where nothing is given.
        kernel: whether an IPython kernel loads it.

    Raises:
        InvalidError: several places are named that exclude each other.
    """
    read = _for_kernel if kernel else _for_python
    place = _over(read(_given(flags, "the command line")), read(_given(file, "the configuration")))
    return _complete_for_kernel(place) if kernel else _complete_for_python(place, simulated)


def profile_dir(profile: str | None, ipython_dir: str | None) -> str:
    """The startup directory of an IPython profile."""
    root = ipython_dir or os.environ.get("IPYTHONDIR") or "~/.ipython"
    return str(Path(_absolute(root), f"profile_{profile or 'default'}", "startup"))


def _given(values: Mapping[str, Any], where: str) -> Place:
    given: dict[str, Any] = {name: values.get(name) or None for name in (*_SOURCES, "startup_profile", "ipython_dir")}
    place = Place(**given)
    named = [name for name in _SOURCES if getattr(place, name)]
    if len(named) > 1:
        raise InvalidError(f"{' and '.join(named)} are both given in {where}: one of them says where startup code is")
    other = "startup_profile" if place.startup_profile else "ipython_dir" if place.ipython_dir else None
    if place.startup_dir and other:
        raise InvalidError(f"startup_dir and {other} are both given in {where}: either names a startup directory")
    return place


def _for_python(place: Place) -> Place:
    if place.startup_script:
        return replace(place, startup_script=_absolute(place.startup_script))
    if not place.startup_module and (place.startup_dir or _has_profile(place)):
        return replace(place, startup_dir=_directory(place))
    return place


def _for_kernel(place: Place) -> Place:
    if place.startup_script:
        return replace(place, startup_script=_absolute(place.startup_script))
    if not place.startup_dir:
        return place
    startup = Path(place.startup_dir).expanduser().absolute()
    profile = startup.parent.name
    if startup.name != "startup" or not profile.startswith("profile_"):
        raise InvalidError(
            f"startup_dir {place.startup_dir!r} is no startup directory of an IPython profile, "
            ".../profile_NAME/startup: with an IPython kernel it must be one"
        )
    return Place(startup_profile=profile.removeprefix("profile_"), ipython_dir=str(startup.parent.parent))


def _over(upper: Place, lower: Place) -> Place:
    """What is given above hides what is given below: the source as a whole, profile and IPython directory each."""
    source = upper if any(getattr(upper, name) for name in _SOURCES) else lower
    return replace(
        source,
        startup_profile=upper.startup_profile or lower.startup_profile,
        ipython_dir=upper.ipython_dir or lower.ipython_dir,
    )


def _complete_for_python(place: Place, simulated: Path) -> Place:
    default = f"{simulated}/"
    if not any(getattr(place, name) for name in _SOURCES):
        return replace(place, startup_dir=default, demo_mode=True, beside=default)
    if place.startup_dir or _has_profile(place):
        return replace(place, beside=_directory(place))
    return place


def _complete_for_kernel(place: Place) -> Place:
    if not (place.startup_script or place.startup_module or _has_profile(place)):
        root = Path(tempfile.gettempdir(), f"qserver_{getpass.getuser()}", "ipython")
        place = replace(place, startup_profile=DEMO_PROFILE, ipython_dir=str(root), demo_mode=True)
    return replace(place, beside=profile_dir(place.startup_profile, place.ipython_dir))


def _directory(place: Place) -> str:
    return _absolute(place.startup_dir or profile_dir(place.startup_profile, place.ipython_dir))


def _has_profile(place: Place) -> bool:
    return bool(place.startup_profile or place.ipython_dir)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
