"""Cuts the tree of devices down to what a group may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skybus.bus.name_patterns import ExactName, NamePattern, Place


@dataclass(frozen=True)
class DeviceRule:
    """Which devices and components are allowed."""

    allowed: tuple[NamePattern, ...] | None
    """None allows everything."""
    forbidden: tuple[NamePattern, ...]


class Places:
    """How far patterns have got at one level of the tree. Exact names are looked up: a site may list thousands."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._exact: dict[str, list[Place]] = {}
        self._others: list[Place] = []
        for place in places:
            regex = place.step.regex
            same = self._exact.setdefault(regex.pattern, []) if isinstance(regex, ExactName) else self._others
            same.append(place)

    def __bool__(self) -> bool:
        return bool(self._exact or self._others)

    def visit(self, name: str, description: Mapping[str, Any]) -> tuple[bool, Places]:
        """Return whether any pattern selects the device, and the patterns that go on below it."""
        is_selected = False
        below = []
        for place in (*self._exact.get(name, ()), *self._others):
            selected, next_place = place.visit(name, description)
            is_selected = is_selected or selected
            if next_place:
                below.append(next_place)
        return is_selected, Places(below) if below else NO_PLACES


NO_PLACES = Places(())


def filter_devices(devices: Mapping[str, Any], rule: DeviceRule) -> dict[str, Any]:
    """Return the tree of allowed devices.

    A device that is not allowed but has an allowed component stays, marked `excluded`. Branches that no
    pattern reaches are shared with the given tree.
    """
    allowed = None if rule.allowed is None else Places(map(Place, rule.allowed))
    return _filter(devices, allowed, Places(map(Place, rule.forbidden)))


def _filter(devices: Mapping[str, Any], allowed: Places | None, forbidden: Places) -> dict[str, Any]:
    if allowed is None and not forbidden:
        return dict(devices)
    if allowed is not None and not allowed:
        return {}
    kept = {}
    for name, description in devices.items():
        result = _filter_device(name, description, allowed, forbidden)
        if result is not None:
            kept[name] = result
    return kept


def _filter_device(
    name: str, description: Mapping[str, Any], allowed: Places | None, forbidden: Places
) -> Mapping[str, Any] | None:
    """Return what stays of one device, or None."""
    is_allowed, allowed_below = (True, None) if allowed is None else allowed.visit(name, description)
    is_forbidden, forbidden_below = forbidden.visit(name, description)
    is_excluded = description.get("excluded", False) or is_forbidden or not is_allowed
    if not is_excluded and allowed_below is None and not forbidden_below:
        return description
    given = description.get("components", {})
    components = _filter(given, allowed_below, forbidden_below) if given else {}
    if is_excluded and not components:
        return None
    if not is_excluded and _is_same(components, given):
        return description
    kept = {key: value for key, value in description.items() if key not in ("components", "excluded")}
    if is_excluded:
        kept["excluded"] = True
    return {**kept, "components": components} if components else kept


def _is_same(components: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Tell whether nothing was cut, so that the given description can be shared."""
    return len(components) == len(given) and all(components[name] is given[name] for name in components)
