"""The metadata of the RunEngine (`RE.md`), as far as a site shows it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from skybus.bus.errors import SkybusError, WrongStateError
from skybus.worker.environment.engine import Engine

EVERYTHING = "/"


def read_metadata(engine: Engine | None, shown: Collection[str]) -> dict[str, Any]:
    """Return the metadata below the paths that are shown.

    Raises:
        WrongStateError: there is no RunEngine, or none with metadata.
        SkybusError: the metadata is no dictionary, or JSON cannot carry it.
    """
    if engine is None:
        raise WrongStateError("Run Engine does not exist in worker environment")
    if not hasattr(engine.run_engine, "md"):
        raise WrongStateError("Run Engine does not have a metadata attribute")
    try:
        metadata = select(dict(engine.run_engine.md), shown)
    except Exception as error:  # a site may keep its metadata in a class of its own
        raise SkybusError(f"Failed to convert Run Engine metadata to dictionary: {error}") from error
    try:
        return json.loads(json.dumps(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise SkybusError(f"Failed to serialize RE metadata with JSON: {error}") from error


def select(metadata: Mapping[str, Any], shown: Collection[str]) -> dict[str, Any]:
    """Keep what lies at or below a path such as `/versions/bluesky`; `/` is everything."""
    if EVERYTHING in shown:
        return dict(metadata)
    return _select(metadata, {path.rstrip("/") for path in shown}, "")


def _select(metadata: Mapping[str, Any], shown: set[str], above: str) -> dict[str, Any]:
    selected: dict[str, Any] = {}
    for key, value in metadata.items():
        path = f"{above}/{key}"
        if path in shown:
            selected[key] = value
        elif isinstance(value, dict) and (inner := _select(value, shown, path)):
            selected[key] = inner
    return selected
