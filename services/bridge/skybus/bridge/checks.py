"""What 0MQ clients are told of parameters that cannot be right, in the words that they look for.

Only what the endpoint's own check could not say in those words stands here; the rest is the services' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skybus.bus.api.queue import QueueMode
from skybus.bus.errors import InvalidError
from skybus.bus.messages import brief

Params = Mapping[str, Any]
Check = Callable[[Params], None]

_ITEM_TYPES = ("plan", "instruction")
_SHOWN = 200
"""Characters of a wrong value that a refusal shows."""


def required(name: str, message: str) -> Check:
    """A parameter must be there."""

    def check(params: Params) -> None:
        if params.get(name) is None:
            raise InvalidError(message)

    return check


def of_type(name: str, kind: type, message: str) -> Check:
    """A parameter, if it is there, must be of a type; `{value}` and `{type}` may stand in the message."""

    def check(params: Params) -> None:
        value = params.get(name)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise InvalidError(message.format(value=brief(value, _SHOWN), type=type(value)))

    return check


def one_of(name: str, choices: tuple[str, ...]) -> Check:
    """A parameter, if it is there, must be one of these."""

    def check(params: Params) -> None:
        value = params.get(name)
        if value is not None and value not in choices:
            raise InvalidError(f"Option {brief(str(value), _SHOWN)} is not supported. Available options: {choices}")

    return check


def exclusive(first: str, second: str) -> Check:
    """Two parameters exclude each other."""

    def check(params: Params) -> None:
        if params.get(first) is not None and params.get(second) is not None:
            raise InvalidError(f"Parameters {first!r} and {second!r} are mutually exclusive.")

    return check


def filled(name: str, message: str, wrong: str) -> tuple[Check, Check]:
    """A parameter must be there and be a text with something in it; `{value}` may stand in `wrong`."""

    def check_there(params: Params) -> None:
        if name not in params:
            raise InvalidError(message)

    def check_text(params: Params) -> None:
        value = params[name]
        if not isinstance(value, str) or not value:
            raise InvalidError(wrong.format(value=brief(value, _SHOWN)))

    return check_there, check_text


def check_item(params: Params) -> None:
    """There must be an item that says what it is."""
    _check_item(params, _ITEM_TYPES)


def check_function(params: Params) -> None:
    """There must be an item that is a call of a function, which has a name and arguments of the right kinds."""
    _check_item(params, ("function",))
    item = params["item"]
    if "name" not in item:
        raise InvalidError("Function name is not specified: the item has no 'name'")
    for name, kinds, what in (("args", (list, tuple), "a tuple or a list"), ("kwargs", dict, "a dictionary")):
        if name in item and not isinstance(item[name], kinds):
            raise InvalidError(f"Parameter {name!r} is not {what}: {brief(item[name], _SHOWN)}")


def _check_item(params: Params, kinds: tuple[str, ...]) -> None:
    if "item" not in params:
        raise InvalidError("Incorrect request format: request contains no item info")
    if problem := item_problem(params["item"], kinds):
        raise InvalidError(problem)


def item_problem(item: Any, kinds: tuple[str, ...] = _ITEM_TYPES) -> str | None:
    """What is wrong with an item before any plan is looked at."""
    if not isinstance(item, dict):
        return f"Incorrect request format: item parameter must have type 'dict', not {type(item)}"
    kind = item.get("item_type")
    if kind is None:
        return "Incorrect request format: 'item_type' key is not found"
    if kind not in kinds:
        return f"Incorrect request format: unsupported 'item_type' value: {brief(str(kind), _SHOWN)}, known are {kinds}"
    return None


def check_mode(params: Params) -> None:
    """A queue mode must be a dictionary or `default`."""
    if "mode" not in params:
        raise InvalidError("Parameter 'mode' is not found in the request")
    mode = params["mode"]
    if not isinstance(mode, dict) and mode != "default":
        raise InvalidError(
            f"Queue mode is passed using object of unsupported type '{type(mode)}': {brief(mode, _SHOWN)}"
        )
    for name, value in mode.items() if isinstance(mode, dict) else ():
        if name not in QueueMode.model_fields:
            known = ", ".join(QueueMode.model_fields)
            raise InvalidError(f"Unsupported plan queue mode parameter '{name}': the parameters are {known}")
        if not isinstance(value, bool):
            raise InvalidError(f"Unsupported type '{type(value)}' of the parameter '{name}': it is true or false")


def check_unsupported(params: Params, known: tuple[str, ...]) -> None:
    """Refuse parameters that a method does not have."""
    unknown = [name for name in params if name not in known]
    if unknown:
        names = repr(unknown[0]) if len(unknown) == 1 else repr(unknown)
        raise InvalidError(f"API request contains unsupported parameters: {names}. Supported parameters: {list(known)}")


USER_GROUP = required("user_group", "Incorrect request format: user group is not specified")
USER = required("user", "Incorrect request format: user name is not specified")
UIDS = required("uids", "Request does not contain the list of UIDs")
ENABLE = (
    required("enable", "Required 'enable' parameter is missing in the request"),
    of_type("enable", bool, "Required 'enable' parameter must be boolean, not {type}"),
)
HISTORY_SIZE = (
    exclusive("size", "item_uid"),
    of_type("size", int, "The 'size' parameter must be an integer: size={value}"),
    of_type("item_uid", str, "The 'item_uid' parameter must be a string: item_uid={value}"),
)
SCRIPT = (
    required("script", "Required 'script' parameter is missing"),
    of_type("script", str, "Type of the 'script' parameter is incorrect: it is {type}, not a string"),
)
TASK_UID = required("task_uid", "Required 'task_uid' parameter is missing in the API call")
LOCK_PARAMS = (
    *filled("user", "User name is not specified: 'user' is required", "User name must be a non-empty string: {value}"),
    *filled(
        "lock_key",
        "Lock key is not specified: 'lock_key' is required",
        "Lock key must be a non-empty string, this is no string or has nothing in it",
    ),
    of_type("note", str, "Note must be a string or None, not {type}"),
)
UNLOCK_PARAMS = filled(
    "lock_key",
    "Request contains no lock key: 'lock_key' is required",
    "Lock key must be a non-empty string, this is no string or has nothing in it",
)


def _check_task_uids(params: Params) -> None:
    uids = params["task_uid"]
    if not isinstance(uids, (str, list)):
        raise InvalidError(f"'task_uid' must be a string or a list of strings, not {type(uids)}")


TASK_UIDS = (TASK_UID, _check_task_uids)


def _check_permissions(params: Params) -> None:
    if "user_group_permissions" not in params:
        raise InvalidError("Parameter 'user_group_permissions' is missing")
    given = params["user_group_permissions"]
    if not isinstance(given, dict):
        raise InvalidError(f"User group permissions: Invalid type '{type(given)}', must be 'dict'")


PERMISSIONS = (_check_permissions,)
