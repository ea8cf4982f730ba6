"""The options that `skybus up` shares with `skybus re-manager`: same names, same words, same values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from skybus.bus.errors import InvalidError
from skybus.cli.manager.option import Kind
from skybus.cli.manager.options import BY_NAME, PORTS
from skybus.cli.manager.place import Place, profile_dir

SHARED = (
    "ignore_invalid_plans",
    "use_ipython_kernel",
    "ipython_matplotlib",
    "ipython_kernel_ip",
    "ipython_connection_file",
    "ipython_connection_dir",
    *(f"ipython_{port}_port" for port in PORTS),
)
"""Settings of the worker that are handed on; `startup_profile` and `ipython_dir` say where startup code is."""


def shared_option(name: str, by_default: str = "") -> Any:
    """Declare an option as the table of `skybus re-manager` describes it, with the variable that the worker reads.

    Args:
        name: of the option.
        by_default: what `skybus up` does without it, if that is something else.
    """
    option = BY_NAME[name]
    metavar = "ON|OFF" if option.kind == Kind.YES_NO else option.kind.name
    return typer.Option(envvar=_variable(name), help=f"{option.help} {by_default}".strip(), metavar=metavar)


def shared_settings(given: Mapping[str, Any]) -> dict[str, str]:
    """What the worker is told of the shared options, by its environment variables.

    Raises:
        InvalidError: a value is not right.
    """
    return {_variable(name): _for_worker(name, given[name]) for name in SHARED if given[name] is not None}


def folder_of(place: Place) -> Path | None:
    """The startup directory, beside whose code permissions and the list of plans and devices may lie."""
    if place.startup_dir:
        return Path(place.startup_dir)
    if (place.startup_profile or place.ipython_dir) and not (place.startup_script or place.startup_module):
        return Path(profile_dir(place.startup_profile, place.ipython_dir))
    return None


def _for_worker(name: str, text: str) -> str:
    option = BY_NAME[name]
    value = option.from_text(text, option.flags[0])
    if value is None:
        raise InvalidError(f"{option.flags[0]}: {text!r} is given, {option.kind} is needed")
    return option.for_services(value)


def _variable(name: str) -> str:
    return f"SKYBUS_{name.upper()}"
