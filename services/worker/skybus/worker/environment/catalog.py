"""Describes the plans and devices of a namespace in the format that clients of bluesky-queueserver know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from skybus.worker.environment.device_tree import (
    describe_device,
    has_methods_of_device,
    is_device,
    protocol_flags,
    why_no_device,
)
from skybus.worker.environment.failures import clean
from skybus.worker.environment.plan_description import CatalogError, PlanDescriber
from skybus.worker.environment.plan_layers import is_listed_plan, why_not_listed
from skybus.worker.environment.registry import REGISTRY, Registry
from skybus.worker.environment.remarks import Remarks
from skybus.worker.environment.user_objects import NOT_OURS_TO_CATCH, ask, shorten, shown, why

__all__ = ["Catalog", "CatalogError", "describe_catalog"]

Description = dict[str, Any]

MOST_SKIPPED = 500
"""Plans that are not listed and named with the reason."""
_NAMED = 10
"""How many of them are named when the environment opens."""


@dataclass(frozen=True)
class Catalog:
    """What a namespace offers to clients."""

    plans: dict[str, Description] = field(default_factory=dict)
    devices: dict[str, Description] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """What looks like a plan and is not listed, each with the reason."""
    warnings: list[str] = field(default_factory=list)
    """What people are told of things that could not be described."""

    def has_same_content(self, other: Catalog) -> bool:
        """Whether clients would see no difference."""
        return (self.plans, self.devices, self.skipped) == (other.plans, other.devices, other.skipped)


def describe_catalog(
    namespace: Mapping[Any, Any],
    *,
    max_depth: int = 0,
    ignore_invalid_plans: bool | None = None,
    registry: Registry = REGISTRY,
) -> Catalog:
    """Describe every plan and device of a namespace.

    Args:
        namespace: Filled by the startup code.
        max_depth: Levels of the device tree to describe; 0 is all of them, except below area detectors.
        ignore_invalid_plans: What to do with a plan whose values or notes cannot be written, as the option of this
            name says: leave it out (true) or raise (false). By default the plan is listed without them.
        registry: What the startup code registered.

    Raises:
        CatalogError: A plan cannot be described.
    """
    remarks = Remarks()
    namespace = _named(namespace, remarks)
    devices = _sendable("device", _describe_devices(namespace, max_depth, registry, remarks), remarks)
    found = {name: obj for name, obj in namespace.items() if not _is_hidden_plan(name, registry)}
    plans = {name: obj for name, obj in found.items() if ask(lambda obj=obj: is_listed_plan(obj), otherwise=False)}
    names = {id(namespace[name]): name for name in reversed(devices)}  # of several names of a device the first
    describer = PlanDescriber(
        devices, plans, lambda obj: names.get(id(obj)), remarks, is_strict=ignore_invalid_plans is not None
    )
    described, skipped = _describe_plans(describer, plans, remarks, raises=ignore_invalid_plans is False)
    skipped |= _skipped(found.keys() - plans.keys() - devices.keys(), namespace, remarks)
    return Catalog(
        _sendable("plan", described, remarks), devices, dict(list(skipped.items())[:MOST_SKIPPED]), remarks.told()
    )


def _named(namespace: Mapping[Any, Any], remarks: Remarks) -> dict[str, Any]:
    """Return what has a name that an item can use; a copy, as background tasks may define names meanwhile."""
    named: dict[str, Any] = {}
    for name, obj in dict(namespace).items():
        if isinstance(name, str) and name and name.isprintable() and "." not in name:
            named[name] = obj
        elif _would_be_listed(obj):
            remarks.add(f"what is called {shown(name)} is not listed: that is no name; give it another one")
    return named


def _would_be_listed(obj: Any) -> bool:
    return ask(lambda: is_device(obj), otherwise=False) or ask(lambda: is_listed_plan(obj), otherwise=False)


def _describe_devices(
    namespace: Mapping[str, Any], max_depth: int, registry: Registry, remarks: Remarks
) -> dict[str, Description]:
    devices: dict[str, Description] = {}
    for name, obj in namespace.items():
        registered = registry.devices.get(name)
        if registered and registered.exclude:
            continue
        depth = registered.depth if registered else max_depth
        try:
            if not has_methods_of_device(obj):
                continue
            if registered is None and (reason := why_no_device(obj)):
                _tell_not_listed(remarks, name, obj, reason)
                continue
            devices[name] = describe_device(
                obj, partial(_tell, remarks, name), max_depth=depth, expand_area_detectors=registered is not None
            )
        except NOT_OURS_TO_CATCH:
            raise
        except BaseException as error:  # of user code, when it is looked at
            remarks.add(
                f"'{name}' ({type(obj).__name__}) is no device, as it raises when it is looked at: {why(error)}"
            )
    return devices


def _tell_not_listed(remarks: Remarks, name: str, obj: Any, reason: str) -> None:
    """Name what may be meant as a device; what has `children` alone, such as a process of psutil, is not."""
    flags = protocol_flags(obj)
    if flags["is_readable"] or flags["is_flyable"]:
        remarks.add(
            f"'{name}' ({type(obj).__name__}) is not listed although it has the methods of a device: {reason}; "
            f"register_device('{name}') of bluesky_queueserver lists it"
        )


def _tell(remarks: Remarks, device: str, component: str, error: BaseException) -> None:
    remarks.add(f"device '{device}': {component} raises when it is looked at: {why(error)}; none beside it is listed")


def _describe_plans(
    describer: PlanDescriber, plans: Mapping[str, Callable[..., Any]], remarks: Remarks, *, raises: bool
) -> tuple[dict[str, Description], dict[str, str]]:
    described: dict[str, Description] = {}
    left_out: dict[str, str] = {}
    for name, plan in plans.items():
        try:
            described[name] = describer.describe(name, plan)
        except CatalogError as error:
            if raises:
                raise
            left_out[name] = shorten(str(error), 500)
            remarks.add(f"plan '{name}' is not listed: {error}")
    return described, left_out


def _skipped(names: set[str], namespace: Mapping[str, Any], remarks: Remarks) -> dict[str, str]:
    reasons = {name: ask(lambda name=name: why_not_listed(namespace[name]), None) for name in sorted(names)}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    if skipped:
        more = ", …" if len(skipped) > _NAMED else ""
        remarks.add(
            f"not listed although they look like plans ({len(skipped)}): {', '.join(list(skipped)[:_NAMED])}{more}; "
            "`skybus plans --skipped` says why"
        )
    return skipped


def _is_hidden_plan(name: str, registry: Registry) -> bool:
    registered = registry.plans.get(name)
    return registered is not None and registered.exclude


def _sendable(kind: str, descriptions: dict[str, Description], remarks: Remarks) -> dict[str, Description]:
    """Replace what JSON cannot carry, which is rare, in the descriptions that have it."""
    if _is_json(descriptions):
        return descriptions
    return {name: _cleaned(kind, name, description, remarks) for name, description in descriptions.items()}


def _cleaned(kind: str, name: str, description: Description, remarks: Remarks) -> Description:
    if _is_json(description):
        return description
    remarks.add(
        f"{kind} '{name}': its description has characters that cannot be sent, such as those of a file name that is "
        "not UTF-8; '?' stands for them"
    )
    return _plain(description)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | None) else clean(str(value))


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True
