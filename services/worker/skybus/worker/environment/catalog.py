"""Describes the plans and devices of a namespace in the format that clients of bluesky-queueserver know."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from bluesky.utils import is_plan

from skybus.bus.name_patterns import matches, parse_device_pattern, parse_plan_pattern, select_devices
from skybus.worker.environment.annotation import ParameterNotes, notes_of
from skybus.worker.environment.device_tree import describe_device, is_device
from skybus.worker.environment.docstrings import read_docstring
from skybus.worker.environment.registry import REGISTRY, Registry
from skybus.worker.environment.type_names import check_type_string, conversions, resolve_hint, type_name

Description = dict[str, Any]


class CatalogError(ValueError):
    """A plan cannot be described: its signature or its annotation is not supported."""


@dataclass(frozen=True)
class Catalog:
    """What a namespace offers to clients."""

    plans: dict[str, Description] = field(default_factory=dict)
    devices: dict[str, Description] = field(default_factory=dict)
    invalid_plans: dict[str, str] = field(default_factory=dict)
    """Plans left out because they cannot be described, each with the reason."""

    def has_same_content(self, other: Catalog) -> bool:
        """Whether clients would see no difference."""
        return self.plans == other.plans and self.devices == other.devices


def describe_catalog(
    namespace: Mapping[str, Any],
    *,
    max_depth: int = 0,
    ignore_invalid_plans: bool = False,
    registry: Registry = REGISTRY,
) -> Catalog:
    """Describe every plan and device of a namespace.

    Args:
        namespace: Filled by the startup code.
        max_depth: Levels of the device tree to describe; 0 is all of them, except below area detectors.
        ignore_invalid_plans: Leave out plans that cannot be described instead of raising.
        registry: What the startup code registered.

    Raises:
        CatalogError: A plan cannot be described.
    """
    namespace = dict(namespace)  # background tasks may define names meanwhile
    devices = _describe_devices(namespace, max_depth, registry)
    plans = {name: plan for name, plan in _plans(namespace) if not _is_hidden_plan(name, registry)}
    described: dict[str, Description] = {}
    invalid: dict[str, str] = {}
    for name, plan in plans.items():
        try:
            described[name] = describe_plan(plan, devices=devices, plan_names=plans)
        except CatalogError as error:
            if not ignore_invalid_plans:
                raise
            invalid[name] = str(error)
    return Catalog(described, devices, invalid)


def describe_plan(plan: Callable[..., Any], *, devices: Mapping[str, Any], plan_names: Iterable[str]) -> Description:
    """Describe one plan.

    Args:
        plan: The plan function.
        devices: Descriptions of the devices, for the decorator's patterns.
        plan_names: Names of all plans, for the decorator's patterns.

    Raises:
        CatalogError: The plan cannot be described.
    """
    name = getattr(plan, "__name__", type(plan).__name__)
    notes = notes_of(plan)
    docs = read_docstring(plan.__doc__)
    try:
        parameters = [
            _describe_parameter(plan, p, notes.parameters.get(p.name, _NO_NOTES), docs.parameters, devices, plan_names)
            for p in inspect.signature(plan).parameters.values()
        ]
    except ValueError as error:
        raise CatalogError(f"Failed to create description of plan '{name}': {error}") from error
    description: Description = {"name": name, "properties": {"is_generator": inspect.isgeneratorfunction(plan)}}
    description["parameters"] = parameters
    if module := getattr(plan, "__module__", None):
        description["module"] = module
    if text := notes.description or docs.summary:
        description["description"] = text
    return description


_NO_NOTES = ParameterNotes()


def _describe_devices(namespace: Mapping[str, Any], max_depth: int, registry: Registry) -> dict[str, Description]:
    devices: dict[str, Description] = {}
    for name, obj in namespace.items():
        registered = registry.devices.get(name)
        if (registered and registered.exclude) or not is_device(obj):
            continue
        depth = registered.depth if registered else max_depth
        devices[name] = describe_device(obj, max_depth=depth, expand_area_detectors=registered is not None)
    return devices


def _plans(namespace: Mapping[str, Any]) -> list[tuple[str, Callable[..., Any]]]:
    return [(name, obj) for name, obj in namespace.items() if not isinstance(obj, ModuleType) and _is_plan(obj)]


def _is_plan(obj: Any) -> bool:
    return callable(obj) and not isinstance(obj, type) and is_plan(obj) is True


def _is_hidden_plan(name: str, registry: Registry) -> bool:
    registered = registry.plans.get(name)
    return registered is not None and registered.exclude


def _describe_parameter(
    plan: Callable[..., Any],
    parameter: inspect.Parameter,
    notes: ParameterNotes,
    docs: Mapping[str, str],
    devices: Mapping[str, Any],
    plan_names: Iterable[str],
) -> Description:
    described: Description = {
        "name": parameter.name,
        "kind": {"name": parameter.kind.name, "value": parameter.kind.value},
    }
    if text := notes.description or docs.get(parameter.name):
        described["description"] = text
    for flag in ("convert_plan_names", "convert_device_names"):
        if (value := getattr(notes, flag)) is not None:
            described[flag] = value
    try:
        if annotation := _annotation(plan, parameter, notes, devices, plan_names):
            described["annotation"] = annotation
            own_types = {*notes.devices, *notes.plans, *notes.enums} if notes.annotation else ()
            for flag in conversions(annotation["type"], own_types):
                described.setdefault(flag, True)
        described.update(_default(parameter, notes))
    except ValueError as error:
        raise ValueError(f"Parameter '{parameter.name}': {error}") from error
    limits = {"min": notes.min, "max": notes.max, "step": notes.step}
    return described | {key: _number(value) for key, value in limits.items() if value is not None}


def _annotation(
    plan: Callable[..., Any],
    parameter: inspect.Parameter,
    notes: ParameterNotes,
    devices: Mapping[str, Any],
    plan_names: Iterable[str],
) -> Description | None:
    """Return the type of a parameter: the decorator's, or the one in the signature."""
    if notes.annotation is None:
        hint = resolve_hint(parameter.annotation, plan)
        written = None if hint is inspect.Parameter.empty else type_name(hint)
        return {"type": written} if written else None
    check_type_string(notes.annotation, [*notes.devices, *notes.plans, *notes.enums])
    annotation: Description = {"type": notes.annotation}
    if notes.devices:
        annotation["devices"] = {key: _device_names(names, devices) for key, names in notes.devices.items()}
    if notes.plans:
        annotation["plans"] = {key: _plan_names(names, plan_names) for key, names in notes.plans.items()}
    if notes.enums:
        annotation["enums"] = {key: list(names) for key, names in notes.enums.items()}
    return annotation


def _device_names(names: Iterable[str], devices: Mapping[str, Any]) -> list[str]:
    return _in_order(select_devices([parse_device_pattern(name) for name in names], devices))


def _plan_names(names: Iterable[str], plan_names: Iterable[str]) -> list[str]:
    found: set[str] = set()
    for text in names:
        pattern = parse_plan_pattern(text)
        found.update([name for name in plan_names if matches(pattern, name)] if pattern.is_regex else [text])
    return _in_order(found)


def _in_order(names: Iterable[str]) -> list[str]:
    """Sort without regard to case, capitals first among equals."""
    return sorted(set(names), key=lambda name: (name.upper(), name[0].islower(), name))


def _default(parameter: inspect.Parameter, notes: ParameterNotes) -> Description:
    """Return the default as text; one in the decorator replaces the one in the signature.

    Raises:
        ValueError: It is no plain Python value, or the signature has none for the decorator to replace.
    """
    has_default = parameter.default is not inspect.Parameter.empty
    if notes.default is not None:
        if not has_default:
            raise ValueError(f"the decorator has default {notes.default!r}, but the plan signature has none")
        return {"default": _literal(notes.default), "default_defined_in_decorator": True}
    return {"default": _literal(parameter.default)} if has_default else {}


def _literal(value: Any) -> str:
    text = repr(value)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"default {text} is not a plain Python value; give one in parameter_annotation_decorator"
        ) from error
    return text


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)
