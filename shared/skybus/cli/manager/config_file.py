"""The YAML configuration: one file, or a directory of files each of which has sections of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skybus.bus.errors import InvalidError, NotFoundError
from skybus.cli.manager.options import PLACES

_SECTIONS = tuple(dict.fromkeys(place.partition("/")[0] for place in PLACES))


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings of a configuration, by the names of options.

    In a directory, hidden files and Python code are left out.

    Raises:
        NotFoundError: there is nothing at the path.
        InvalidError: a file is no YAML, or has what is no setting, or has a section that another has too.
    """
    values: dict[str, Any] = {}
    owners: dict[str, Path] = {}
    for file in _files(path.expanduser()):
        for section, settings in _read(file).items():
            if section in owners:
                raise InvalidError(
                    f"section {section!r} is in {owners[section]} and in {file}: it may be in one file only"
                )
            owners[section] = file
            values |= _values(section, settings, file)
    return values


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if not _is_left_out(file))
    if not path.exists():
        raise NotFoundError(f"the configuration {path} does not exist: name a YAML file or a directory of them")
    return [path]


def _is_left_out(file: Path) -> bool:
    return file.name.startswith(".") or file.suffix == ".py" or file.name == "__pycache__"


def _read(file: Path) -> Mapping[str, Any]:
    import yaml  # most starts need none

    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidError(f"cannot read the configuration file {file}: {error}") from None
    if not isinstance(content, dict):
        raise InvalidError(f"{file}: sections are needed, from {', '.join(_SECTIONS)}")
    for section in content:
        if section not in _SECTIONS:
            raise InvalidError(f"{file}: there is no section {section!r}; there are {', '.join(_SECTIONS)}")
    return content


def _values(section: str, settings: Any, file: Path) -> dict[str, Any]:
    if not isinstance(settings, dict):
        raise InvalidError(f"{file}: section {section!r} must have settings below it")
    values = {}
    for key, value in settings.items():
        option = PLACES.get(f"{section}/{key}")
        if option is None:
            known = (place.partition("/")[2] for place in PLACES if place.startswith(f"{section}/"))
            raise InvalidError(f"{file}: section {section!r} has no setting {key!r}; it has {', '.join(known)}")
        values[option.name] = option.check(_expanded(value), f"{file}: {section}/{key}")
    return values


def _expanded(value: Any) -> Any:
    """Put in the environment variables that a text names, such as $HOME."""
    if isinstance(value, str):
        return os.path.expandvars(value)
    return [_expanded(word) for word in value] if isinstance(value, list) else value
