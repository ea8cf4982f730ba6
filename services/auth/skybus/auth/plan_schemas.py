"""Writes what a plan takes as JSON Schema (2020-12), so that a form can be made of it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

from skybus.bus.api.catalog import DEFINITION
from skybus.bus.dotted_names import walk
from skybus.bus.type_strings import TypeStringError, arguments_of, fixed_places, head_of, members_of, parse_type

Schema = dict[str, Any]

_PLAIN: dict[str, Schema] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "complex": {"not": {}},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "bytes": {"not": {}},
    "None": {"type": "null"},
    "NoneType": {"type": "null"},
    "__CALLABLE__": {"type": "string"},
}
"""JSON has no complex numbers and no bytes: no value fits."""

_NAMES = {
    "__DEVICE__": "device",
    "__READABLE__": "readable",
    "__MOVABLE__": "movable",
    "__FLYABLE__": "flyable",
    "__PLAN__": "plan",
    "__PLAN_OR_DEVICE__": "plan_or_device",
}
"""Built-in type → the definition with its names."""

_ARRAYS = {"list", "List", "tuple", "Tuple", "set", "Set", "frozenset", "FrozenSet", "Sequence", "MutableSequence"} | {
    "Iterable",
    "deque",
    "Deque",
    "AbstractSet",
    "MutableSet",
}
_OBJECTS = {"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict"}


class PlanSchemaWriter:
    """Writes the schemas of the plans of one user group.

    Args:
        plans: Descriptions of the plans that the group may run.
        names: What `names_by_kind` says that the group may use.
    """

    def __init__(self, plans: Mapping[str, Any], names: Mapping[str, list[str]]) -> None:
        self._plans = plans
        self._names = names
        self._own_types: dict[tuple[str, ...], str] = {}
        self.definitions: dict[str, Schema] = {}
        """The lists of names that the schemas written so far refer to."""

    def schema(self, plan: str) -> Schema:
        """Write the schema of one plan."""
        description = self._plans[plan]
        parameters = description.get("parameters", [])
        named = [parameter for parameter in parameters if parameter["kind"]["name"] != "VAR_KEYWORD"]
        others = next((parameter for parameter in parameters if parameter["kind"]["name"] == "VAR_KEYWORD"), None)
        schema: Schema = {
            "title": plan,
            "type": "object",
            "properties": {parameter["name"]: self._parameter(parameter) for parameter in named},
            "additionalProperties": self._type(others) if others else False,
        }
        if text := description.get("description"):
            schema["description"] = text
        if required := [parameter["name"] for parameter in named if _is_required(parameter)]:
            schema["required"] = required
        return schema

    def _parameter(self, parameter: Mapping[str, Any]) -> Schema:
        schema, kind = self._type(parameter), parameter["kind"]["name"]
        if kind == "VAR_POSITIONAL":
            schema = {"type": "array", "items": schema}
        if kind in ("VAR_POSITIONAL", "POSITIONAL_ONLY"):
            schema["x-kind"] = kind
        if text := parameter.get("description"):
            schema["description"] = text
        return schema | _default(parameter)

    def _type(self, parameter: Mapping[str, Any]) -> Schema:
        annotation = parameter.get("annotation", {})
        try:
            node = parse_type(annotation["type"])
        except (KeyError, TypeStringError):  # it has no type, or one that only the worker knows
            return _limits(parameter)
        schema = self._node(node, annotation)
        if parameter["kind"]["name"] == "VAR_POSITIONAL" and (places := fixed_places(node)):
            # as the check does, take the values of groups also one after another
            schema = {"anyOf": [schema, *(self._node(place, annotation) for place in places)]}
        _limit_numbers(schema, _limits(parameter))
        return schema

    def _node(self, node: ast.expr, annotation: Mapping[str, Any]) -> Schema:
        members = list(members_of(node))
        if len(members) > 1:
            return {"anyOf": [self._node(member, annotation) for member in members]}
        head = head_of(node)
        for section in ("devices", "plans", "enums"):
            if (names := annotation.get(section, {}).get(head)) is not None:
                return self._refer(self._own_type(head, names), names)
        if head in _NAMES:
            return self._refer(_NAMES[head], self._names[_NAMES[head]])
        if isinstance(node, ast.Subscript):
            return self._generic(node, annotation)
        if head in _ARRAYS:
            return {"type": "array"}
        return {"type": "object"} if head in _OBJECTS else dict(_PLAIN.get(head, {}))

    def _generic(self, node: ast.Subscript, annotation: Mapping[str, Any]) -> Schema:
        head, arguments = head_of(node), arguments_of(node)
        if head == "Literal":
            return {"enum": [ast.literal_eval(argument) for argument in arguments]}
        if head == "Annotated":
            return self._node(arguments[0], annotation)
        if places := fixed_places(node):
            inner = [self._node(place, annotation) for place in places]
            return {"type": "array", "prefixItems": inner, "items": False, "minItems": len(inner)}
        if head in _ARRAYS:
            return {"type": "array", "items": self._node(arguments[0], annotation)} if arguments else {"type": "array"}
        if head in _OBJECTS and len(arguments) == 2:
            return {"type": "object", "additionalProperties": self._node(arguments[1], annotation)}
        return {}

    def _own_type(self, type_name: str, names: Iterable[str]) -> str:
        """Return the definition of a list that the author of a plan has given: the same list is defined once."""
        key = tuple(names)
        if key not in self._own_types:
            taken = {*self._own_types.values(), *_NAMES.values()}
            numbered = (f"{type_name}_{number}" for number in range(2, len(taken) + 3))
            self._own_types[key] = next(name for name in (type_name, *numbered) if name not in taken)
        return self._own_types[key]

    def _refer(self, definition: str, names: Iterable[str]) -> Schema:
        if definition not in self.definitions:
            self.definitions[definition] = {"type": "string", "enum": list(names)}
        return {"$ref": DEFINITION + definition}


def names_by_kind(plans: Mapping[str, Any], devices: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the dotted names of plans and devices that each built-in type offers."""
    every = list(walk(devices))
    names = {kind: [name for name, device in every if device.get(f"is_{kind}")] for kind in _KINDS}
    all_devices = [name for name, _ in every]
    return {**names, "device": all_devices, "plan": list(plans), "plan_or_device": [*plans, *all_devices]}


_KINDS = ("readable", "movable", "flyable")


def _is_required(parameter: Mapping[str, Any]) -> bool:
    return "default" not in parameter and parameter["kind"]["name"] != "VAR_POSITIONAL"


def _default(parameter: Mapping[str, Any]) -> Schema:
    """Return the default, if JSON can express it."""
    if parameter.get("default_is_text"):
        return {}
    try:
        return {"default": json.loads(json.dumps(ast.literal_eval(parameter["default"]), allow_nan=False))}
    except (KeyError, TypeError, ValueError, SyntaxError):
        return {}


def _limits(parameter: Mapping[str, Any]) -> Schema:
    limits = {"minimum": parameter.get("min"), "maximum": parameter.get("max"), "multipleOf": parameter.get("step")}
    numbers = {keyword: _number(text) for keyword, text in limits.items() if text is not None}
    return {keyword: number for keyword, number in numbers.items() if keyword != "multipleOf" or number > 0}


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _limit_numbers(schema: Schema, limits: Schema) -> None:
    """Put limits on all numbers in a type, as the check does."""
    if schema.get("type") in ("integer", "number"):
        schema.update(limits)
    inner = [
        schema.get("items"),
        schema.get("additionalProperties"),
        *schema.get("anyOf", ()),
        *schema.get("prefixItems", ()),
    ]
    for below in inner:
        if isinstance(below, dict):
            _limit_numbers(below, limits)
