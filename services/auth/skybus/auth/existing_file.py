"""Reads the file with the existing plans and devices, from which auth begins while no environment is open."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import structlog
import yaml

from skybus.auth.catalogue import PackedCatalogue
from skybus.bus.packing import pack

log = structlog.get_logger()

DEFAULT_FILE_NAME = "existing_plans_and_devices.yaml"
NO_LISTS = PackedCatalogue("", b"")
"""Nobody says what there is."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""With libyaml it takes a sixth of the time, 0.15 s for the simulated beamline."""


def read_existing(path: Path, kept: PackedCatalogue | None = None) -> PackedCatalogue:
    """Read the lists; what is missing or wrong is no list, and said in the log.

    Args:
        path: The file, or a directory with a file of the usual name in it.
        kept: Lists that are known already; if they are those of the file, it need not be parsed.
    """
    file = path / DEFAULT_FILE_NAME if path.is_dir() else path
    try:
        text = file.read_bytes()
        uid = f"file:{hashlib.sha256(text).hexdigest()}"
        return kept if kept and kept.catalog_uid == uid else PackedCatalogue(uid, _pack(yaml.load(text, _LOADER)))  # noqa: S506 - a safe loader
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        log.warning("existing plans and devices are not read from their file", file=str(file), reason=reason)
        return NO_LISTS


def _pack(content: Any) -> bytes:
    lists = {name: _descriptions(content, f"existing_{name}") for name in ("plans", "devices")}
    return pack(orjson.dumps(lists, option=orjson.OPT_NON_STR_KEYS))


def _descriptions(content: Any, section: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError("it has no sections 'existing_plans' and 'existing_devices'")
    descriptions = content.get(section) or {}
    if not isinstance(descriptions, dict) or not all(isinstance(item, dict) for item in descriptions.values()):
        raise TypeError(f"'{section}' does not map names to descriptions")
    return descriptions
