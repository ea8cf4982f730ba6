"""Recognises devices and describes them with their components."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from bluesky.protocols import Flyable, Movable, Readable
from ophyd.ophydobj import OphydObject

from skybus.worker.environment.user_objects import NOT_OURS_TO_CATCH

NEVER_DEVICES = (type, ModuleType, FunctionType, BuiltinFunctionType, str, bytes, int, float, dict, list, tuple, set)
"""What fills most of a namespace and cannot be a device."""

PROTOCOL_METHODS = ("read", "describe", "set", "kickoff", "complete", "name", "parent", "hints")
"""Attributes that decide about a protocol and that an object may have without its class having them."""

DATA_LIBRARIES = ("databroker", "intake", "tiled")
"""Packages of catalogues of data, whose objects have `read` and `describe`, too."""
MADE_UP = "no_device_has_this_attribute"
"""What has it has whatever it is asked for."""

_flags: dict[tuple[Any, ...], dict[str, bool]] = {}


def is_device(obj: Any) -> bool:
    """Tell whether an object is a device: readable, flyable, or a tree of such (ophyd-async).

    Raises:
        BaseException: Whatever user code raises when it is looked at.
    """
    return has_methods_of_device(obj) and why_no_device(obj) is None


def has_methods_of_device(obj: Any) -> bool:
    """Tell whether an object has the methods of a device; others have them, too.

    Raises:
        BaseException: As `is_device`.
    """
    if isinstance(obj, NEVER_DEVICES) or (_is_of_data_library(obj) and not _is_of_ophyd(obj)):
        return False
    flags = protocol_flags(obj)
    return flags["is_readable"] or flags["is_flyable"] or callable(getattr(obj, "children", None))


def why_no_device(obj: Any) -> str | None:
    """Say why an object with the methods of a device is none; nothing if it is one.

    Raises:
        BaseException: As `is_device`.
    """
    if _is_of_ophyd(obj):
        return None
    cls = type(obj)
    if hasattr(cls, "keys") and hasattr(cls, "__getitem__"):
        return "it is a mapping, as catalogues of data are: it has 'keys' and '__getitem__'"
    if hasattr(cls, "__getattr__") and hasattr(obj, MADE_UP):
        return "it has whatever attribute it is asked for, as mocks and proxies of servers have"
    if callable(getattr(obj, "name", None)):
        return "its name is a method, and not a text"
    return None


def _is_of_data_library(obj: Any) -> bool:
    return any(str(base.__module__).split(".")[0] in DATA_LIBRARIES for base in type(obj).__mro__)


def _is_of_ophyd(obj: Any) -> bool:
    core = sys.modules.get("ophyd_async.core")
    return isinstance(obj, OphydObject) or (core is not None and isinstance(obj, core.Device))


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


Tell = Callable[[str, BaseException], None]
"""Told of a component that cannot be looked at, and what it has raised."""


def describe_device(
    device: Any,
    tell: Tell,
    *,
    max_depth: int = 0,
    expand_area_detectors: bool = False,
    above: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Describe a device and its components.

    Args:
        device: The device.
        tell: Told of a component that cannot be looked at.
        max_depth: How many levels to describe; 0 is all of them.
        expand_area_detectors: Describe the components of area detectors too, which may take long.
        above: The devices, by `id`, that this one is a component of.
    """
    cls = type(device)
    description: dict[str, Any] = {**protocol_flags(device), "classname": cls.__name__, "module": str(cls.__module__)}
    if max_depth == 1 or (not expand_area_detectors and _is_area_detector(device)):
        return description
    components = _describe_components(device, tell, max(0, max_depth - 1), expand_area_detectors, (*above, id(device)))
    if components:
        description["components"] = components
    return description


def _describe_components(
    device: Any, tell: Tell, max_depth: int, expand_area_detectors: bool, above: tuple[int, ...]
) -> dict[str, Any]:
    """Describe the components; none at all if one fails: the others would each wait for their own timeout."""
    components: dict[str, Any] = {}
    name = ""
    try:
        for name in _component_names(device):
            component = getattr(device, name, None)
            if component is None or id(component) in above:
                continue
            components[name] = describe_device(
                component, tell, max_depth=max_depth, expand_area_detectors=expand_area_detectors, above=above
            )
    except NOT_OURS_TO_CATCH:
        raise
    except BaseException as error:  # a component that cannot connect, or no device at all: others have `children` too
        tell(f"component '{name}' of a {type(device).__name__}", error)
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
