"""The file `existing_plans_and_devices.yaml`: the catalogue as the reference saves it, for tools and later starts."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import orjson
import structlog
import yaml

from skybus.worker.environment.catalog import Catalog
from skybus.worker.order import Order

log = structlog.get_logger()

FILE_NAME = "existing_plans_and_devices.yaml"
PATIENCE = 0.5
"""Seconds that who saves waits for the disk; the file of a large beamline takes longer."""
_HEAD = "# Written by skybus from the startup code. Contents: "
_PACKAGE = Path(__file__).parent.parent

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ExistingFile:
    """The file of one environment; nothing that goes wrong with it harms the environment."""

    def __init__(self, path: Path) -> None:
        self._path = path / FILE_NAME if path.suffix != ".yaml" else path
        self._lock = threading.Lock()
        self._latest: Catalog | None = None

    @classmethod
    def of(cls, order: Order) -> ExistingFile | None:
        """The file that an order names; never one in our own package."""
        path = order.existing_plans_and_devices
        return cls(path) if path and not path.resolve().is_relative_to(_PACKAGE) else None

    def save(self, catalog: Catalog) -> None:
        """Bring the file up to date; returns when that is done, or when it goes on in the background."""
        self._latest = catalog
        saving = threading.Thread(target=self._save_latest, name="existing plans and devices", daemon=True)
        saving.start()
        saving.join(PATIENCE)

    def _save_latest(self) -> None:
        with self._lock:
            if self._latest is None:
                return
            catalog, self._latest = self._latest, None
            try:
                write_existing(self._path, catalog)
            except Exception as error:
                log.warning("the existing plans and devices are not saved", file=str(self._path), reason=str(error))


def write_existing(path: Path, catalog: Catalog) -> bool:
    """Write a catalogue into a file if the file has anything else; tell whether it was written.

    Raises:
        OSError: it cannot be written.
    """
    content = {"existing_devices": catalog.devices, "existing_plans": catalog.plans}
    plain = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    if _has(path, plain):
        return False
    body = yaml.dump(orjson.loads(plain), Dumper=_DUMPER)
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
