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
from skybus.auth.linear_pattern import compile_linear
from skybus.bus.dotted_names import is_in_tree
from skybus.bus.errors import InvalidError, NotFoundError
from skybus.bus.name_patterns import Compile, NamePattern, matches, parse_device_pattern, parse_plan_pattern

ROOT = "root"
"""The group that is the ceiling for all others."""

DEFAULT_FILE_NAME = "user_group_permissions.yaml"


MOST_GROUPS = 200
MOST_LINES = 20_000
"""Lines in all lists together."""
MOST_EXPRESSIONS = 500
"""Regular expressions in all lists together; a line of a list of devices may have several."""
LONGEST_NAME = 1000
"""Characters of a function's name that is looked for in the lists."""
MOST_FAULTS = 100
"""Lines that cannot be read and are named."""

Lines = list[str | None]
ReadLines = list[NamePattern | ValueError | None]
"""Lines as patterns, or why they cannot be read; None is `null`."""
Parse = Callable[[str, Compile], NamePattern]

EVERY_PLAN, EVERY_DEVICE = parse_plan_pattern(":.*", compile_linear), parse_device_pattern(":?.*", compile_linear)


@dataclass(frozen=True)
class NameList:
    """Patterns of names of plans or functions; exact names are looked up: a site may list thousands."""

    patterns: tuple[NamePattern, ...]

    def selects(self, name: str) -> bool:
        """Tell whether any pattern selects a name."""
        return name in self._exact or any(matches(pattern, name) for pattern in self._expressions)

    @cached_property
    def _exact(self) -> set[str]:
        return {pattern.steps[0].regex.pattern for pattern in self.patterns if not pattern.is_regex}

    @cached_property
    def _expressions(self) -> list[NamePattern]:
        return [pattern for pattern in self.patterns if pattern.is_regex]


@dataclass(frozen=True)
class NameRule:
    """Which names of plans or functions are allowed."""

    allowed: NameList | None
    """None allows everything."""
    forbidden: NameList

    def allows(self, name: str) -> bool:
        """Tell whether a name is allowed and not forbidden."""
        return (self.allowed is None or self.allowed.selects(name)) and not self.forbidden.selects(name)


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
        return self._name_rule("plans")

    @cached_property
    def function_rule(self) -> NameRule:
        """The lists of functions, ready to use."""
        return self._name_rule("functions")

    @cached_property
    def device_rule(self) -> DeviceRule:
        """The lists of devices, ready to use."""
        return DeviceRule(self._allowed("allowed_devices"), self._forbidden("forbidden_devices", EVERY_DEVICE))

    def faults(self) -> Iterator[str]:
        """Say of each line that cannot be read in which list it is, why, and what it does."""
        for name, lines in self._read_lists.items():
            effect = "it allows nothing" if name.startswith("allowed") else "it forbids everything"
            yield from (f"{name}: {line} ({effect})" for line in lines if isinstance(line, ValueError))

    @cached_property
    def _read_lists(self) -> dict[str, ReadLines]:
        """The lists by their names; reading them takes up to seconds, if there are as many as there may be."""
        return {name: [_read(line, _parser(name)) for line in getattr(self, name)] for name in type(self).model_fields}

    def _name_rule(self, kind: str) -> NameRule:
        allowed = self._allowed(f"allowed_{kind}")
        forbidden = NameList(self._forbidden(f"forbidden_{kind}", EVERY_PLAN))
        return NameRule(None if allowed is None else NameList(allowed), forbidden)

    def _allowed(self, name: str) -> tuple[NamePattern, ...] | None:
        """Return the patterns of a list; None if it begins with null: everything is allowed."""
        lines = self._read_lists[name]
        if lines and lines[0] is None:
            return None
        return tuple(line for line in lines if isinstance(line, NamePattern))

    def _forbidden(self, name: str, everything: NamePattern) -> tuple[NamePattern, ...]:
        """Return the patterns of a list; one that begins with null forbids nothing."""
        lines = self._read_lists[name]
        if lines and lines[0] is None:
            return ()
        return tuple(everything if isinstance(line, ValueError) else line for line in lines if line is not None)


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

    @field_validator("user_groups")
    @classmethod
    def _need_reasonable_size(cls, groups: dict[str, GroupPermissions]) -> dict[str, GroupPermissions]:
        lines = [
            line for group in groups.values() for name in type(group).model_fields for line in getattr(group, name)
        ]
        expressions = sum(line.count(":") for line in lines if line is not None)
        counts = {"groups": (len(groups), MOST_GROUPS), "lines": (len(lines), MOST_LINES)}
        counts["regular expressions"] = (expressions, MOST_EXPRESSIONS)
        for what, (count, most) in counts.items():
            if count > most:
                raise ValueError(f"there are {count} {what}, and {most} are allowed")
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
    found = [f"user_groups → {name} → {fault}" for name, group in groups for fault in group.faults()]
    more = len(found) - MOST_FAULTS
    return found if more <= 0 else [*found[:MOST_FAULTS], f"{more} more lines cannot be read"]


def allowed_by_group(
    permissions: UserGroupPermissions, plans: Mapping[str, Any], devices: Mapping[str, Any]
) -> dict[str, AllowedItems]:
    """Filter the catalogue for each group: first by what `root` allows, once for all, then by the group's own lists.

    Lists of plans and devices inside the descriptions of plans are cut down likewise. The given descriptions are not
    changed, and shared with the result where nothing is cut.
    """
    ceiling = _within(permissions.group(ROOT), plans, devices)
    groups = {
        name: ceiling if name == ROOT else _within(group, *ceiling) for name, group in permissions.user_groups.items()
    }
    return {name: _cut_plans(*lists) for name, lists in groups.items()}


def is_function_allowed(permissions: UserGroupPermissions, group: str, function: str) -> bool:
    """Tell whether a group may call a function of the namespace.

    Raises:
        NotFoundError: There is no such group.
    """
    groups = [permissions.group(name) for name in (ROOT, group)]
    return len(function) <= LONGEST_NAME and all(group.function_rule.allows(function) for group in groups)


def _within(
    group: GroupPermissions, plans: Mapping[str, Any], devices: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the plans and devices that the lists of one group allow."""
    allowed = {plan: description for plan, description in plans.items() if group.plan_rule.allows(plan)}
    return allowed, filter_devices(devices, group.device_rule)


def _cut_plans(plans: Mapping[str, Any], devices: Mapping[str, Any]) -> AllowedItems:
    return AllowedItems({name: _cut_plan(plan, plans, devices) for name, plan in plans.items()}, dict(devices))


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


def _parser(list_name: str) -> Parse:
    return parse_device_pattern if list_name.endswith("_devices") else parse_plan_pattern


def _read(line: str | None, parse: Parse) -> NamePattern | ValueError | None:
    try:
        return None if line is None else parse(line, compile_linear)
    except ValueError as error:
        return error.with_traceback(None)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _explain(error: ValidationError) -> str:
    """Say for each fault where it is and what it is, in the words of the file."""
    return "; ".join(_explain_one(fault) for fault in error.errors())


def _explain_one(fault: Any) -> str:
    if fault["type"] == "missing":
        return f"'{fault['loc'][-1]}' is a required property"
    return f"{' → '.join(map(str, fault['loc'])) or 'top level'}: {fault['msg'].removeprefix('Value error, ')}"
