"""Recognises devices and describes them with their components."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import structlog
from bluesky.protocols import Flyable, Movable, Readable
from ophyd.ophydobj import OphydObject

log = structlog.get_logger()

NEVER_DEVICES = (type, ModuleType, FunctionType, BuiltinFunctionType, str, bytes, int, float, dict, list, tuple, set)
"""What fills most of a namespace and cannot be a device."""

PROTOCOL_METHODS = ("read", "describe", "set", "kickoff", "complete", "name", "parent", "hints")
"""Attributes that decide about a protocol and that an object may have without its class having them."""

_flags: dict[tuple[Any, ...], dict[str, bool]] = {}


def is_device(obj: Any) -> bool:
    """Tell whether an object is a device: readable, flyable, or a tree of such (ophyd-async)."""
    if isinstance(obj, NEVER_DEVICES):
        return False
    try:
        flags = protocol_flags(obj)
        return flags["is_readable"] or flags["is_flyable"] or hasattr(obj, "children")
    except Exception:  # an object of user code whose attributes raise is no device
        log.warning("object cannot be inspected", type=type(obj).__name__, exc_info=True)
        return False


def protocol_flags(obj: Any) -> dict[str, bool]:
    """Return which protocols of Bluesky an object follows.

    The check against a protocol takes microseconds and beamlines have 100 000 signals of a few classes, so
    the answer is kept for each class; objects that make up attributes on the fly are asked every time.
    """
    cls = type(obj)
    if not isinstance(obj, OphydObject) and hasattr(cls, "__getattr__"):
        return _ask(obj)
    own = getattr(obj, "__dict__", {})
    key = (cls, *(name in own for name in PROTOCOL_METHODS))
    if key not in _flags:
        _flags[key] = _ask(obj)
    return _flags[key]


def describe_device(device: Any, *, max_depth: int = 0, expand_area_detectors: bool = False) -> dict[str, Any]:
    """Describe a device and its components.

    Args:
        device: The device.
        max_depth: How many levels to describe; 0 is all of them.
        expand_area_detectors: Describe the components of area detectors too, which may take long.
    """
    cls = type(device)
    description: dict[str, Any] = {**protocol_flags(device), "classname": cls.__name__, "module": cls.__module__}
    if max_depth == 1 or (not expand_area_detectors and _is_area_detector(device)):
        return description
    components = _describe_components(device, max(0, max_depth - 1), expand_area_detectors)
    if components:
        description["components"] = components
    return description


def _describe_components(device: Any, max_depth: int, expand_area_detectors: bool) -> dict[str, Any]:
    """Describe the components; none at all if one fails: the others would each wait for their own timeout."""
    components: dict[str, Any] = {}
    name = ""
    try:
        for name in _component_names(device):
            component = getattr(device, name, None)
            if component is None:
                continue
            components[name] = describe_device(
                component, max_depth=max_depth, expand_area_detectors=expand_area_detectors
            )
    except Exception:  # a component that cannot connect, or no device at all: others have `children` too
        log.warning("component cannot be described", device=type(device).__name__, component=name, exc_info=True)
        return {}
    return components


def _component_names(device: Any) -> Iterable[str]:
    if hasattr(device, "component_names"):
        names = device.component_names
        return names if isinstance(names, Iterable) else ()
    if hasattr(device, "children"):
        return [name for name, _ in device.children()]
    return ()


def _is_area_detector(device: Any) -> bool:
    """Tell whether it is an area detector; ophyd's package for them takes long to import, so it is not imported."""
    base = sys.modules.get("ophyd.areadetector.base")
    return base is not None and isinstance(device, base.ADBase)


def _ask(obj: Any) -> dict[str, bool]:
    return {
        "is_readable": isinstance(obj, Readable),
        "is_movable": isinstance(obj, Movable),
        "is_flyable": isinstance(obj, Flyable),
    }
