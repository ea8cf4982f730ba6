"""User groups and what they may use: the permissions file, and the part of the catalogue that a group may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from skybus.auth.device_filter import DeviceRule, filter_devices
from skybus.bus.dotted_names import is_in_tree
from skybus.bus.errors import InvalidError, NotFoundError
from skybus.bus.name_patterns import NamePattern, matches, parse_device_pattern, parse_plan_pattern

ROOT = "root"
"""The group that is the ceiling for all others."""

DEFAULT_FILE_NAME = "user_group_permissions.yaml"


Lines = list[str | None]
Parse = Callable[[str], NamePattern]

EVERY_PLAN, EVERY_DEVICE = ":.*", ":?.*"


@dataclass(frozen=True)
class NameRule:
    """Which names of plans or functions are allowed."""

    allowed: tuple[NamePattern, ...] | None
    """None allows everything."""
    forbidden: tuple[NamePattern, ...]

    def allows(self, name: str) -> bool:
        """Tell whether a name is allowed and not forbidden."""
        is_allowed = self.allowed is None or any(matches(pattern, name) for pattern in self.allowed)
        return is_allowed and not any(matches(pattern, name) for pattern in self.forbidden)


class GroupPermissions(BaseModel):
    """The lists of one group; a missing "allowed" list allows nothing.

    A line that cannot be read gives no right away: it allows nothing, or forbids everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed_plans: Lines = []
    forbidden_plans: Lines = []
    allowed_devices: Lines = []
    forbidden_devices: Lines = []
    allowed_functions: Lines = []
    forbidden_functions: Lines = []

    @cached_property
    def plan_rule(self) -> NameRule:
        """The lists of plans, ready to use."""
        return _name_rule(self.allowed_plans, self.forbidden_plans)

    @cached_property
    def function_rule(self) -> NameRule:
        """The lists of functions, ready to use."""
        return _name_rule(self.allowed_functions, self.forbidden_functions)

    @cached_property
    def device_rule(self) -> DeviceRule:
        """The lists of devices, ready to use."""
        return DeviceRule(
            _allowed(self.allowed_devices, parse_device_pattern),
            _forbidden(self.forbidden_devices, parse_device_pattern, EVERY_DEVICE),
        )

    def faults(self) -> Iterator[str]:
        """Say of each line that cannot be read in which list it is, why, and what it does."""
        for name in type(self).model_fields:
            parse = parse_device_pattern if name.endswith("_devices") else parse_plan_pattern
            effect = "it allows nothing" if name.startswith("allowed") else "it forbids everything"
            for line in getattr(self, name):
                try:
                    _ = line is None or parse(line)
                except ValueError as error:
                    yield f"{name}: {error} ({effect})"


class UserGroupPermissions(BaseModel):
    """The whole permissions file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_groups: dict[str, GroupPermissions]

    @field_validator("user_groups", mode="before")
    @classmethod
    def _read_empty_groups(cls, groups: Any) -> Any:
        """Take a group without any lists (`observer:` and nothing below) as one that allows nothing."""
        return {name: {} if lists is None else lists for name, lists in groups.items()} if _is_dict(groups) else groups

    @field_validator("user_groups")
    @classmethod
    def _need_root(cls, groups: dict[str, GroupPermissions]) -> dict[str, GroupPermissions]:
        if ROOT not in groups:
            raise ValueError(f"Missing required user group: '{ROOT}'")
        return groups

    def group(self, name: str) -> GroupPermissions:
        """Return the lists of a group.

        Raises:
            NotFoundError: There is no such group.
        """
        if name not in self.user_groups:
            known = ", ".join(sorted(self.user_groups))
            raise NotFoundError(f"No permissions are defined for user group '{name}' (groups: {known})")
        return self.user_groups[name]


@dataclass(frozen=True)
class AllowedItems:
    """What a group may put into plans and requests."""

    plans: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, Any] = field(default_factory=dict)


def load_permissions(path: Path) -> UserGroupPermissions:
    """Read the permissions file; a directory stands for the file with the usual name in it.

    Raises:
        InvalidError: It is not there, is no YAML, or is not valid.
    """
    file = path / DEFAULT_FILE_NAME if path.is_dir() else path
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidError(f"User group permissions cannot be read from '{file}': {reason}") from error
    return parse_permissions(content, origin=f"file '{file}'")


def parse_permissions(content: Any, *, origin: str = "the request") -> UserGroupPermissions:
    """Validate permissions that came from a file or a client.

    Raises:
        InvalidError: They are not valid; the message names each place.
    """
    try:
        return UserGroupPermissions.model_validate(content)
    except ValidationError as error:
        raise InvalidError(f"User group permissions from {origin} are not valid: {_explain(error)}") from error


def permissions_dict(permissions: UserGroupPermissions) -> dict[str, Any]:
    """Return permissions as the dictionary that clients get: only the lists that were given."""
    return permissions.model_dump(exclude_unset=True)


def faults(permissions: UserGroupPermissions) -> list[str]:
    """Say of each line that cannot be read where it is, why, and what it does."""
    groups = permissions.user_groups.items()
    return [f"user_groups → {name} → {fault}" for name, group in groups for fault in group.faults()]


def allowed_items(
    permissions: UserGroupPermissions, group: str, plans: Mapping[str, Any], devices: Mapping[str, Any]
) -> AllowedItems:
    """Filter the catalogue for a group: first by what `root` allows, then by the group's own lists.

    Lists of plans and devices inside the descriptions of plans are cut down likewise. The given descriptions
    are not changed, and shared with the result where nothing is cut.

    Raises:
        NotFoundError: There is no such group.
    """
    for name in dict.fromkeys((ROOT, group)):
        rules = permissions.group(name)
        devices = filter_devices(devices, rules.device_rule)
        plans = {plan: description for plan, description in plans.items() if rules.plan_rule.allows(plan)}
    return AllowedItems({name: _cut_plan(plan, plans, devices) for name, plan in plans.items()}, dict(devices))


def is_function_allowed(permissions: UserGroupPermissions, group: str, function: str) -> bool:
    """Tell whether a group may call a function of the namespace.

    Raises:
        NotFoundError: There is no such group.
    """
    return all(permissions.group(name).function_rule.allows(function) for name in (ROOT, group))


def _cut_plan(description: Mapping[str, Any], plans: Mapping[str, Any], devices: Mapping[str, Any]) -> Any:
    """Leave only allowed names in the lists that the plan's author gave for its parameters."""
    parameters = description.get("parameters", [])
    cut = [_cut_parameter(parameter, plans, devices) for parameter in parameters]
    if all(after is before for after, before in zip(cut, parameters, strict=True)):
        return description
    return {**description, "parameters": cut}


def _cut_parameter(parameter: Mapping[str, Any], plans: Mapping[str, Any], devices: Mapping[str, Any]) -> Any:
    annotation = parameter.get("annotation", {})
    cut = {
        section: {name: [item for item in names if is_in_tree(item, tree)] for name, names in lists.items()}
        for section, tree in (("plans", plans), ("devices", devices))
        if (lists := annotation.get(section))
    }
    return {**parameter, "annotation": {**annotation, **cut}} if cut else parameter


def _name_rule(allowed: Lines, forbidden: Lines) -> NameRule:
    return NameRule(_allowed(allowed, parse_plan_pattern), _forbidden(forbidden, parse_plan_pattern, EVERY_PLAN))


def _allowed(lines: Lines, parse: Parse) -> tuple[NamePattern, ...] | None:
    """Compile a list; None if it begins with null: everything is allowed."""
    if lines and lines[0] is None:
        return None
    patterns = (_pattern(line, parse) for line in lines if line is not None)
    return tuple(pattern for pattern in patterns if pattern)


def _forbidden(lines: Lines, parse: Parse, everything: str) -> tuple[NamePattern, ...]:
    """Compile a list; one that begins with null forbids nothing."""
    if lines and lines[0] is None:
        return ()
    return tuple(_pattern(line, parse) or parse(everything) for line in lines if line is not None)


def _pattern(line: str, parse: Parse) -> NamePattern | None:
    try:
        return parse(line)
    except ValueError:
        return None


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _explain(error: ValidationError) -> str:
    """Say for each fault where it is and what it is, in the words of the file."""
    return "; ".join(_explain_one(fault) for fault in error.errors())


def _explain_one(fault: Any) -> str:
    if fault["type"] == "missing":
        return f"'{fault['loc'][-1]}' is a required property"
    return f"{' → '.join(map(str, fault['loc'])) or 'top level'}: {fault['msg'].removeprefix('Value error, ')}"
