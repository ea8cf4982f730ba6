"""The file `existing_plans_and_devices.yaml`: the catalogue as the reference saves it, for tools and later starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import structlog
import yaml

from skybus.worker.environment.catalog import Catalog
from skybus.worker.environment.yaml_text import to_yaml

log = structlog.get_logger()

FILE_NAME = "existing_plans_and_devices.yaml"
_HEAD = "# Written by skybus from the startup code. Contents: "
_PACKAGE = Path(__file__).parent.parent

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def save_existing(path: Path, catalog: Catalog) -> None:
    """Bring the file of a site up to date; nothing that goes wrong with it harms the environment.

    Args:
        path: the file, or the folder of one with the usual name; nothing is written into our own package.
        catalog: what it shall contain.
    """
    path = path if path.suffix == ".yaml" else path / FILE_NAME
    if path.resolve().is_relative_to(_PACKAGE):
        return
    try:
        write_existing(path, catalog)
    except (OSError, TypeError, ValueError) as error:
        log.warning("the existing plans and devices are not saved", file=str(path), reason=str(error))


def write_existing(path: Path, catalog: Catalog) -> bool:
    """Write a catalogue into a file if the file has anything else; tell whether it was written.

    Raises:
        OSError: it cannot be written.
    """
    content = {"existing_devices": catalog.devices, "existing_plans": catalog.plans}
    plain = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    if _has(path, plain):
        return False
    body = to_yaml(orjson.loads(plain))
    new = path.with_name(f".{path.name}.new")
    new.write_text(f"{_HEAD}{_digest(plain, body.encode())}\n{body}", encoding="utf-8")
    new.replace(path)
    log.info("existing plans and devices saved", file=str(path))
    return True


def _has(path: Path, plain: bytes) -> bool:
    """Tell whether a file has this content; to read the YAML of a large beamline takes many seconds, a digest none."""
    try:
        text = path.read_bytes()
    except OSError:
        return False
    head, _, body = text.partition(b"\n")
    if head.startswith(_HEAD.encode()):
        return head.decode(errors="replace") == _HEAD + _digest(plain, body)
    try:
        return bool(yaml.load(text, Loader=_LOADER) == orjson.loads(plain))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError):
        return False


def _digest(plain: bytes, body: bytes) -> str:
    """Name the content, and its form in the file: one that somebody has edited is written anew."""
    return hashlib.sha256(plain + b"\n" + body).hexdigest()
