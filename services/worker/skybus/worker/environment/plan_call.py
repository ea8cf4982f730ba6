"""Turns a queue item into a call of a plan: names of devices and plans become the objects they name."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bluesky.utils import Msg

from skybus.bus.dotted_names import is_in_tree
from skybus.bus.errors import InvalidError, NotFoundError
from skybus.worker.environment.catalog import Catalog

DOTTED_NAME = re.compile(r"[_A-Za-z][_A-Za-z0-9]*(\.[_A-Za-z][_A-Za-z0-9]*)*")

Item = Mapping[str, Any]


class NotAPlanError(TypeError):
    """A function that is listed as a plan has returned something else."""


def build_plan(item: Item, namespace: Mapping[str, Any], catalog: Catalog) -> Callable[[], Generator[Any, Any, Any]]:
    """Return a function that makes the generator of the item's plan.

    Only plans and devices of the catalogue are looked up, and always in the namespace, so that a plan which
    was redefined meanwhile is the one that runs. A catalogue that is filtered for a user group limits which
    names become objects.

    Args:
        item: A queue item: `name`, and optionally `args` and `kwargs`.
        namespace: Where plans and devices live.
        catalog: What is offered to the user.

    Raises:
        NotFoundError: There is no such plan, or a device of the catalogue is no longer there.
        InvalidError: The arguments do not fit the plan's signature.

    The function that is returned raises NotAPlanError if the plan returns nothing that the RunEngine can run.
    """
    name = item["name"]
    if name not in catalog.plans or not callable(namespace.get(name)):
        raise NotFoundError(f"Plan '{name}' is not allowed or does not exist")
    plan = namespace[name]
    bound = _bind(name, plan, item)
    for parameter in catalog.plans[name].get("parameters", []):
        _resolve_parameter(bound, parameter, namespace, catalog)
    return lambda: _require_plan(name, plan(*bound.args, **bound.kwargs))


def plan_metadata(item: Item) -> dict[str, Any]:
    """Return the run metadata of an item; in a list of dictionaries the first ones win.

    Raises:
        InvalidError: `meta` is something else.
    """
    meta = item.get("meta") or {}
    layers = list(meta) if isinstance(meta, list | tuple) else [meta]
    if not all(isinstance(layer, Mapping) for layer in layers):
        raise InvalidError("Plan parameter 'meta' must be a dictionary or a list of dictionaries")
    return {key: value for layer in reversed(layers) for key, value in layer.items()}


@dataclass(frozen=True)
class _Lookup:
    """Which strings of one parameter are replaced by objects."""

    namespace: Mapping[str, Any]
    trees: list[Mapping[str, Any]] = field(default_factory=list)
    """Descriptions in which any name counts."""
    names: set[str] = field(default_factory=set)
    """Names that count besides."""
    expressions: bool = False
    """Whether any dotted name of the namespace counts (functions passed as parameters)."""

    def convert(self, value: Any) -> Any:
        """Replace strings, also in lists and in the values of dictionaries; the given value is not changed."""
        if isinstance(value, str):
            return self._find(value)
        if isinstance(value, Mapping):
            return {key: self.convert(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set):
            return [self.convert(inner) for inner in value]
        return value

    def _find(self, text: str) -> Any:
        if text in self.names or any(is_in_tree(text, tree) for tree in self.trees):
            return _existing(text, self.namespace)
        if self.expressions and DOTTED_NAME.fullmatch(text):
            return _follow(text, {**vars(builtins), **self.namespace}, otherwise=text)
        return text


def _bind(name: str, plan: Callable[..., Any], item: Item) -> inspect.BoundArguments:
    try:
        return inspect.signature(plan).bind(*item.get("args", ()), **item.get("kwargs", {}))
    except TypeError as error:
        raise InvalidError(f"Plan '{name}': {error}") from error


def _require_plan(name: str, returned: Any) -> Any:
    """Return messages in any form that the RunEngine takes; what an iterator yields is seen only there."""
    if isinstance(returned, Collection) and not isinstance(returned, Msg | str):
        is_plan = all(isinstance(message, Msg) for message in returned)
    else:
        is_plan = isinstance(returned, Iterable) and not isinstance(returned, str)
    if is_plan:
        return returned
    kind = type(returned).__name__
    what = "None" if returned is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
    raise NotAPlanError(f"plan '{name}' has returned {what}, not a plan: it must yield messages, or return a generator")


def _resolve_parameter(
    bound: inspect.BoundArguments, parameter: Mapping[str, Any], namespace: Mapping[str, Any], catalog: Catalog
) -> None:
    name = parameter["name"]
    if name not in bound.signature.parameters:
        raise InvalidError(f"The description of the plan has parameter '{name}', which the plan no longer has")
    if parameter.get("default_is_text") and bound.arguments.get(name) == ast.literal_eval(parameter["default"]):
        del bound.arguments[name]  # a form has sent back the text that stands for the default
    if name not in bound.arguments and parameter.get("default_defined_in_decorator"):
        bound.arguments[name] = ast.literal_eval(parameter["default"])
    if name in bound.arguments:
        bound.arguments[name] = _lookup(parameter, namespace, catalog).convert(bound.arguments[name])


def _lookup(parameter: Mapping[str, Any], namespace: Mapping[str, Any], catalog: Catalog) -> _Lookup:
    """Say what is replaced: everything without a type, else what the type or the decorator's flags call for."""
    annotation = parameter.get("annotation")
    trees: list[Mapping[str, Any]] = []
    names: set[str] = set()
    for flag, section, tree in (
        ("convert_plan_names", "plans", catalog.plans),
        ("convert_device_names", "devices", catalog.devices),
    ):
        if parameter.get(flag, annotation is None):
            trees.append(tree)
        elif annotation and flag not in parameter:
            listed = (name for group in annotation.get(section, {}).values() for name in group)
            names.update(name for name in listed if is_in_tree(name, tree))
    return _Lookup(namespace, trees, names, parameter.get("eval_expressions", False))


def _existing(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return what a name of the catalogue stands for; the plan must not get the name instead."""
    found = _follow(name, namespace, otherwise=None)
    if found is None:
        raise NotFoundError(f"'{name}' is listed, but it is no longer there: update the environment")
    return found


def _follow(name: str, namespace: Mapping[str, Any], *, otherwise: Any) -> Any:
    first, *rest = name.split(".")
    if first not in namespace:
        return otherwise
    found = namespace[first]
    for part in rest:
        found = getattr(found, part, None)
        if found is None:
            return otherwise
    return found
