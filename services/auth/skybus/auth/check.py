"""Checks a submitted queue item: does the plan exist, may the user run it, do the arguments fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from skybus.auth.bluesky_args import device_names
from skybus.auth.hints import hint_for
from skybus.auth.parameter_types import TypeMismatchError, check_value, places_of
from skybus.auth.type_words import shorten, shown
from skybus.bus.dotted_names import is_in_tree
from skybus.bus.errors import DeniedError, InvalidError, NotFoundError, SkybusError, WrongStateError

INSTRUCTIONS = ("queue_stop",)
FAILED = "Plan validation failed: "

Descriptions = Mapping[str, Any]


def check_item(
    item: Mapping[str, Any],
    user_group: str,
    allowed_plans: Descriptions,
    allowed_devices: Descriptions,
    *,
    existing_plans: Descriptions | None = None,
    existing_devices: Descriptions | None = None,
) -> None:
    """Check one item before it is queued.

    Args:
        item: `item_type` (`plan` if missing), `name`, and for a plan `args`, `kwargs` and `meta`.
        user_group: Whose rights count; for the messages.
        allowed_plans: Descriptions of the plans that the group may run.
        allowed_devices: Descriptions of the devices that the group may use.
        existing_plans: The whole catalogue, if known: tells "not allowed" from "does not exist".
        existing_devices: The same; with it, names of devices that are not allowed are refused also in
            parameters without a type.

    Raises:
        NotFoundError: There is no such plan or device.
        DeniedError: It exists, and the group may not use it.
        InvalidError: The item is malformed, or its arguments do not fit the plan's signature.
    """
    ItemChecker(user_group, allowed_plans, allowed_devices, existing_plans, existing_devices).check(item)


class ItemChecker:
    """The check of items for one group and one catalogue: what it works out for a plan, it works out once."""

    def __init__(
        self,
        user_group: str,
        allowed_plans: Descriptions,
        allowed_devices: Descriptions,
        existing_plans: Descriptions | None = None,
        existing_devices: Descriptions | None = None,
        *,
        is_catalogue_known: bool = True,
        allows_function: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._allows_function = allows_function
        self._rights = _Rights(
            user_group,
            {"plan": allowed_plans, "device": allowed_devices},
            {"plan": existing_plans or {}, "device": existing_devices or {}},
            is_catalogue_known,
        )

    def check(self, item: Mapping[str, Any], *, is_queued_only: bool = False) -> None:
        """Check one item, as `check_item` does.

        Args:
            item: As for `check_item`.
            is_queued_only: Let names pass that exist and are not allowed: rights may have changed when the item runs.

        Raises:
            WrongStateError: It is a plan, and nobody knows yet which plans there are.
        """
        item_type = item.get("item_type", "plan")
        name = item.get("name")
        if not isinstance(name, str) or not name:
            what = "Function name is not specified" if item_type == "function" else "An item needs a name"
            raise InvalidError(f"{what}; this one has {shorten(name)}")
        if item_type == "instruction":
            return _check_instruction(name)
        if item_type == "function":
            return _check_function(item, name, self._rights.group, self._allows_function)
        if item_type != "plan":
            raise InvalidError(
                f"Item type {shorten(item_type)} is not supported; it is 'plan', 'instruction' or 'function'"
            )
        return _check_plan(item, name, replace(self._rights, defers_denied=True) if is_queued_only else self._rights)


@dataclass(frozen=True)
class _Rights:
    """What the group may use, and what there is."""

    group: str
    allowed: Mapping[str, Descriptions]
    existing: Mapping[str, Descriptions]
    is_known: bool = True
    """Whether anybody has ever said what there is."""
    defers_denied: bool = False
    """Whether names of what exists and is not allowed may stand in arguments for now."""
    signatures: dict[str, inspect.Signature] = field(default_factory=dict)
    """Of the plans that were asked for; `inspect` takes most of the time of a check to make one."""

    def signature(self, plan: str) -> inspect.Signature:
        """Return the signature of an allowed plan."""
        if plan not in self.signatures:
            self.signatures[plan] = _signature(self.allowed["plan"][plan].get("parameters", []))
        return self.signatures[plan]

    def refuse(self, kind: str, name: str) -> SkybusError:
        """Return the error for a plan or device that the group may not use."""
        if not self.is_known:
            return WrongStateError(
                f"{FAILED}{kind.capitalize()} '{name}' is not known: no environment has been opened yet, and plans and "
                "devices come from its startup code"
            )
        text = f"{kind.capitalize()} '{name}' is not in the list of allowed {kind}s"
        if is_in_tree(name, self.existing[kind]):
            return DeniedError(f"{FAILED}{text}: it exists, but user group '{self.group}' may not use it.")
        return NotFoundError(f"{FAILED}{text}.{hint_for(name, self.allowed[kind])}")


@dataclass(frozen=True)
class _ParameterNames:
    """What names mean in one parameter."""

    parameter: str
    annotation: Mapping[str, Any]
    rights: _Rights

    @property
    def own_types(self) -> list[str]:
        """The types that the plan's author has defined for this parameter."""
        return [name for section, _ in _SECTIONS for name in self.annotation.get(section, {})]

    def check_choice(self, type_name: str, value: str) -> None:
        """Check a value against an enum of the parameter."""
        for section, kind in _SECTIONS:
            choices = self.annotation.get(section, {}).get(type_name)
            if choices is not None:
                self._check_listed(kind, choices, value)

    def check_name(self, kinds: tuple[str, ...], value: str) -> None:
        """Check that a string names an allowed device or plan."""
        if not kinds or any(is_in_tree(value, self.rights.allowed[kind]) for kind in kinds):
            return
        kind = next((kind for kind in kinds if is_in_tree(value, self.rights.existing[kind])), None)
        if kind and self.rights.defers_denied:
            return
        raise _within(self.parameter, self.rights.refuse(kind or kinds[-1], value))

    def _check_listed(self, kind: str, choices: list[str], value: str) -> None:
        if value in choices:
            return
        if kind and not is_in_tree(value, self.rights.allowed[kind]):
            raise _within(self.parameter, self.rights.refuse(kind, value))
        listed = ", ".join(choices[:10]) + (", …" if len(choices) > 10 else "")
        hint = hint_for(value, _flat_tree(choices))
        raise InvalidError(
            f"{FAILED}Parameter '{self.parameter}': {shorten(value)} is not one of {listed or 'nothing allowed'}.{hint}"
        )


_SECTIONS = (("devices", "device"), ("plans", "plan"), ("enums", ""))
"""Where a parameter's own types are, and what their strings name."""


def _check_instruction(name: str) -> None:
    if name not in INSTRUCTIONS:
        raise InvalidError(f"Unrecognized instruction: '{name}'; there is {', '.join(map(repr, INSTRUCTIONS))}")


def _check_function(item: Mapping[str, Any], name: str, group: str, allows: Callable[[str], bool]) -> None:
    args, kwargs = item.get("args", []), item.get("kwargs", {})
    if not isinstance(args, list | tuple):
        raise InvalidError(f"Function '{name}': 'args' must be a list, not {shorten(args)} ({type(args).__name__})")
    if not isinstance(kwargs, Mapping):
        raise InvalidError(
            f"Function '{name}': 'kwargs' must be a dictionary, not {shorten(kwargs)} ({type(kwargs).__name__})"
        )
    if not allows(name):
        raise DeniedError(f"Function '{name}' is not allowed for users from '{group}' group.")


def _check_plan(item: Mapping[str, Any], name: str, rights: _Rights) -> None:
    if name not in rights.allowed["plan"]:
        raise rights.refuse("plan", name)
    plan = rights.allowed["plan"][name]
    parameters = plan.get("parameters", [])
    arguments = _bind(name, parameters, rights.signature(name), item)
    for parameter in parameters:
        if parameter["name"] in arguments:
            _check_argument(parameter, arguments[parameter["name"]], rights)
            _check_motors(plan, parameter, arguments[parameter["name"]], rights)
    _check_meta(item)


def _bind(
    name: str, parameters: list[Mapping[str, Any]], signature: inspect.Signature, item: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Bind the arguments as Python would."""
    args, kwargs = item.get("args") or [], item.get("kwargs") or {}
    if not isinstance(args, list | tuple):
        raise InvalidError(f"{FAILED}'args' must be a list, not {shorten(args)} ({type(args).__name__})")
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise InvalidError(f"{FAILED}'kwargs' must be a dictionary with names of parameters, not {shorten(kwargs)}")
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        unknown = next((key for key in kwargs if key not in signature.parameters), None)
        hint = hint_for(unknown, _flat_tree(signature.parameters)) if unknown else ""
        raise InvalidError(f"{FAILED}{error}.{hint} The plan is {name}{_usage(parameters)}.") from error


def _signature(parameters: list[Mapping[str, Any]]) -> inspect.Signature:
    return inspect.Signature(
        [
            inspect.Parameter(
                parameter["name"],
                _KINDS[parameter["kind"]["name"]],
                default=parameter.get("default", inspect.Parameter.empty),
            )
            for parameter in parameters
        ]
    )


_KINDS = {
    "POSITIONAL_ONLY": inspect.Parameter.POSITIONAL_ONLY,
    "POSITIONAL_OR_KEYWORD": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "VAR_POSITIONAL": inspect.Parameter.VAR_POSITIONAL,
    "KEYWORD_ONLY": inspect.Parameter.KEYWORD_ONLY,
    "VAR_KEYWORD": inspect.Parameter.VAR_KEYWORD,
}


def _usage(parameters: list[Mapping[str, Any]]) -> str:
    """Return the signature as a user would read it."""
    signature = _signature(parameters)
    return str(signature.replace(parameters=[_Plain.of(p) for p in signature.parameters.values()]))


class _Plain(str):
    """A default that is shown as it was written; descriptions keep defaults as text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> inspect.Parameter:
        """Return the parameter with its default shown that way."""
        return parameter if parameter.default is parameter.empty else parameter.replace(default=cls(parameter.default))


def _check_argument(parameter: Mapping[str, Any], value: Any, rights: _Rights) -> None:
    name, annotation = parameter["name"], parameter.get("annotation", {})
    if "type" in annotation:
        names = _ParameterNames(name, annotation, rights)
        try:
            for type_string, part in _parts(parameter, annotation["type"], value):
                check_value(type_string, names.own_types, part, names)
        except TypeMismatchError as refusal:
            raise InvalidError(
                f"{FAILED}Error in argument types: Incorrect parameter type: key='{name}', value='{shown(value)}': "
                f"{refusal}"
            ) from refusal
    _check_denied_names(parameter, value, rights)
    _check_range(parameter, value)


def _parts(parameter: Mapping[str, Any], type_string: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Pair the values of a parameter with their types.

    Bluesky annotates `*args` of `list_scan(detectors, motor, [1, 2], …)` with the tuple of one group, so a
    fixed tuple there also describes arguments that follow one another.
    """
    kind = parameter["kind"]["name"]
    if kind == "VAR_KEYWORD":
        yield f"dict[str, {type_string}]", value
    elif kind != "VAR_POSITIONAL":
        yield type_string, value
    elif value and not isinstance(value[0], list | tuple) and (places := places_of(type_string)):
        yield from ((places[n % len(places)], inner) for n, inner in enumerate(value))
    else:
        yield f"list[{type_string}]", value


def _check_motors(plan: Mapping[str, Any], parameter: Mapping[str, Any], value: Any, rights: _Rights) -> None:
    if parameter["kind"]["name"] == "VAR_POSITIONAL":
        for text in device_names(plan, value):
            _ParameterNames(parameter["name"], {}, rights).check_name(("device",), text)


def _check_denied_names(parameter: Mapping[str, Any], value: Any, rights: _Rights) -> None:
    """Refuse names of what exists and is not allowed, where the worker would replace them by the objects."""
    if rights.defers_denied:
        return
    annotation = parameter.get("annotation")
    for kind in ("plan", "device"):
        is_replaced = annotation is None or f"{kind}s" in annotation
        if not parameter.get(f"convert_{kind}_names", is_replaced):
            continue
        for text in _strings(value):
            if is_in_tree(text, rights.existing[kind]) and not is_in_tree(text, rights.allowed[kind]):
                raise _within(parameter["name"], rights.refuse(kind, text))


def _check_range(parameter: Mapping[str, Any], value: Any) -> None:
    if "min" not in parameter and "max" not in parameter:
        return
    low, high = float(parameter.get("min", "-inf")), float(parameter.get("max", "inf"))
    for number in _numbers(value):
        if not low <= number <= high:
            limits = f"[{parameter.get('min', '-inf')}, {parameter.get('max', 'inf')}]"
            raise InvalidError(
                f"{FAILED}Argument values are out of range: Parameter value is out of range: "
                f"key='{parameter['name']}', value='{shown(value)}': Value {number} is out of range {limits}"
            )


def _check_meta(item: Mapping[str, Any]) -> None:
    meta = item.get("meta", {})
    layers = meta if isinstance(meta, list | tuple) else [meta]
    if not all(isinstance(layer, Mapping) for layer in layers):
        raise InvalidError(f"{FAILED}Plan parameter 'meta' must be a dictionary or a list of dictionaries")


def _within(parameter: str, error: SkybusError) -> SkybusError:
    """Say in an error which parameter it is about."""
    return type(error)(error.message.replace(FAILED, f"{FAILED}Parameter '{parameter}': ", 1))


def _flat_tree(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: {} for name in names}


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _strings(value: Any) -> Iterator[str]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, str))


def _numbers(value: Any) -> Iterator[float]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, int | float))
