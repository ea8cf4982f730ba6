"""The table: which method of the 0MQ API is which endpoint, and what its reply looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skybus.bridge.checks import (
    ENABLE,
    HISTORY_SIZE,
    LOCK_PARAMS,
    PERMISSIONS,
    SCRIPT,
    TASK_UID,
    TASK_UIDS,
    UIDS,
    UNLOCK_PARAMS,
    USER,
    USER_GROUP,
    Check,
    check_function,
    check_item,
    check_mode,
    one_of,
    required,
)
from skybus.bridge.method import ECHO_ITEM, ECHO_TASK, QUEUE_SIZE, Method, Values
from skybus.bus.api.catalog import DEVICES_ALLOWED, DEVICES_EXISTING, PLANS_ALLOWED, PLANS_EXISTING
from skybus.bus.api.engine import (
    KERNEL_INTERRUPT,
    RE_ABORT,
    RE_HALT,
    RE_METADATA,
    RE_PAUSE,
    RE_RESUME,
    RE_RUNS,
    RE_STOP,
)
from skybus.bus.api.environment import ENVIRONMENT_CLOSE, ENVIRONMENT_DESTROY, ENVIRONMENT_OPEN
from skybus.bus.api.history import HISTORY_CLEAR, HISTORY_GET
from skybus.bus.api.lock import LOCK, LOCK_INFO, UNLOCK
from skybus.bus.api.manager import CONFIG_GET, MANAGER_KILL, MANAGER_STOP, MANAGER_TEST
from skybus.bus.api.permissions import PERMISSIONS_GET, PERMISSIONS_RELOAD, PERMISSIONS_SET
from skybus.bus.api.queue import (
    ITEM_ADD,
    ITEM_ADD_BATCH,
    ITEM_EXECUTE,
    ITEM_GET,
    ITEM_MOVE,
    ITEM_MOVE_BATCH,
    ITEM_REMOVE,
    ITEM_REMOVE_BATCH,
    ITEM_UPDATE,
    QUEUE_AUTOSTART,
    QUEUE_CLEAR,
    QUEUE_GET,
    QUEUE_MODE_SET,
    QUEUE_START,
    QUEUE_STOP,
    QUEUE_STOP_CANCEL,
)
from skybus.bus.api.status import BEYOND_REFERENCE, PING, STATUS_GET
from skybus.bus.api.tasks import ENVIRONMENT_UPDATE, FUNCTION_EXECUTE, SCRIPT_UPLOAD, TASK_RESULT, TASK_STATUS
from skybus.bus.endpoints import Endpoint

SPOKEN = "RE Manager v0.0.25"
"""Whose 0MQ API this is; clients of the reference read it as the server's version."""

HANG = 4.0
"""Seconds; with the start that follows about the five that the reference's watchdog takes."""


def status_reply(answer: Values, _: Mapping[str, Any]) -> Values:
    """The status with the fields that the reference has, and no others."""
    return {name: value for name, value in answer.items() if name not in BEYOND_REFERENCE} | {"msg": SPOKEN}


def _task_uids(params: Mapping[str, Any]) -> Values:
    """One uid or several."""
    given = params["task_uid"]
    return {"task_uids": [given] if isinstance(given, str) else given}


def _task_statuses(answer: Values, params: Mapping[str, Any]) -> Values:
    """For one uid its status, for several the status of each by uid."""
    given, statuses = params["task_uid"], answer["statuses"]
    status = statuses[given] if isinstance(given, str) else statuses
    return {"success": True, "msg": "", "task_uid": given, "status": status}


def _warned(answer: Values, _: Mapping[str, Any]) -> Values:
    """A success with something to say."""
    return {"success": True, "msg": "; ".join(answer["warnings"])}


def _keep_none(params: Mapping[str, Any]) -> Values:
    """A negative size keeps as little as 0."""
    size = params.get("size")
    return {**params, "size": max(size, 0)} if isinstance(size, int) else dict(params)


def _hang_first(_: Mapping[str, Any]) -> Values:
    """Answer nobody for a while: clients use this method to see how they get on with a manager that does not answer."""
    return {"hang": HANG}


def _control(name: str, endpoint: Endpoint[Any, Any], *params: str, checks: tuple[Check, ...] = ()) -> Method:
    """A method that only does something."""
    return Method(name, endpoint, (*params, "lock_key"), prefix="Error: ", has_bare_refusals=True, checks=checks)


def _catalog(name: str, endpoint: Endpoint[Any, Any], *params: str, checks: tuple[Check, ...] = ()) -> Method:
    """A method that lists plans or devices."""
    return Method(
        name,
        endpoint,
        params,
        fields={name: name.partition("_")[0], f"{name}_uid": "uid"},
        failed={name: {}, f"{name}_uid": None},
        checks=checks,
    )


_PLACE = ("pos", "before_uid", "after_uid")
_CLAIM = ("user", "user_group")
_ONE_ITEM: dict[str, Any] = {
    "fields": {"qsize": "qsize", "item": "item"},
    "failed": {"qsize": None, "item": ECHO_ITEM},
    "checks": (check_item, USER_GROUP, USER),
}
_TAKEN: dict[str, Any] = {"fields": {"item": "item", "qsize": "qsize"}, "failed": {"item": {}, "qsize": None}}
_SEVERAL: dict[str, Any] = {
    "fields": {"items": "items", "qsize": "qsize"},
    "failed": {"items": [], "qsize": None},
    "checks": (UIDS,),
}

_STARTED: dict[str, Any] = {"fields": {"task_uid": "task_uid"}, "failed": {"task_uid": None}, "prefix": "Error: "}
_LOCK: dict[str, Any] = {
    "fields": {"lock_info": "lock_info", "lock_info_uid": "lock_info_uid"},
    "failed": {"lock_info": {}, "lock_info_uid": None},
    "prefix": "Error: ",
}

_ROWS = (
    Method("ping", PING, to_reply=status_reply, is_silent_without_service=True),
    Method("status", STATUS_GET, to_reply=status_reply, is_silent_without_service=True),
    _catalog("plans_allowed", PLANS_ALLOWED, "user_group", checks=(USER_GROUP,)),
    _catalog("devices_allowed", DEVICES_ALLOWED, "user_group", checks=(USER_GROUP,)),
    _catalog("plans_existing", PLANS_EXISTING),
    _catalog("devices_existing", DEVICES_EXISTING),
    Method(
        "queue_get",
        QUEUE_GET,
        fields={"items": "items", "running_item": "running_item", "plan_queue_uid": "plan_queue_uid"},
        failed={"items": [], "running_item": {}, "plan_queue_uid": ""},
        prefix="Error: ",
        announced="Returning current queue and running plan ...",
    ),
    Method(
        "history_get",
        HISTORY_GET,
        fields={"items": "items", "plan_history_uid": "plan_history_uid"},
        failed={"items": [], "plan_history_uid": ""},
        prefix="Error: ",
    ),
    Method(
        "history_clear",
        HISTORY_CLEAR,
        ("size", "item_uid", "lock_key"),
        prefix="Error: ",
        checks=HISTORY_SIZE,
        to_request=_keep_none,
    ),
    Method(
        "queue_item_add",
        ITEM_ADD,
        ("item", *_CLAIM, *_PLACE, "lock_key"),
        prefix="Failed to add an item: ",
        announced="Adding new item to the queue ...",
        **_ONE_ITEM,
    ),
    Method(
        "queue_item_add_batch",
        ITEM_ADD_BATCH,
        ("items", *_CLAIM, *_PLACE, "lock_key"),
        fields={"qsize": "qsize", "items": "items", "results": "results"},
        failed={"qsize": QUEUE_SIZE, "items": [], "results": []},
        prefix="Failed to add an item: ",
        checks=(required("items", "Invalid request format: the list of items is not found"), USER_GROUP, USER),
    ),
    Method(
        "queue_item_update",
        ITEM_UPDATE,
        ("item", *_CLAIM, "replace", "lock_key"),
        prefix="Failed to add an item: ",
        **{**_ONE_ITEM, "failed": {"qsize": 0, "item": ECHO_ITEM}},
    ),
    Method(
        "queue_item_execute",
        ITEM_EXECUTE,
        ("item", *_CLAIM, "lock_key"),
        prefix="Failed to start execution of the item: ",
        **_ONE_ITEM,
    ),
    Method(
        "queue_item_get",
        ITEM_GET,
        ("pos", "uid"),
        fields={"item": "item"},
        failed={"item": {}},
        prefix="Failed to get an item: ",
    ),
    Method("queue_item_remove", ITEM_REMOVE, ("pos", "uid", "lock_key"), prefix="Failed to remove an item: ", **_TAKEN),
    Method(
        "queue_item_move",
        ITEM_MOVE,
        ("pos", "uid", "pos_dest", "before_uid", "after_uid", "lock_key"),
        prefix="Failed to move the item: ",
        **_TAKEN,
    ),
    Method(
        "queue_item_remove_batch",
        ITEM_REMOVE_BATCH,
        ("uids", "ignore_missing", "lock_key"),
        prefix="Failed to remove a batch of items: ",
        **_SEVERAL,
    ),
    Method(
        "queue_item_move_batch",
        ITEM_MOVE_BATCH,
        ("uids", "pos_dest", "before_uid", "after_uid", "reorder", "lock_key"),
        prefix="Failed to move the batch of items: ",
        **_SEVERAL,
    ),
    Method("queue_clear", QUEUE_CLEAR, ("lock_key",), prefix="Error: "),
    Method(
        "queue_mode_set",
        QUEUE_MODE_SET,
        ("mode", "lock_key"),
        prefix="Failed to set queue mode: ",
        checks=(check_mode,),
    ),
    _control("queue_start", QUEUE_START),
    _control("queue_stop", QUEUE_STOP),
    _control("queue_stop_cancel", QUEUE_STOP_CANCEL),
    _control("queue_autostart", QUEUE_AUTOSTART, "enable", checks=ENABLE),
    _control("environment_open", ENVIRONMENT_OPEN),
    _control("environment_close", ENVIRONMENT_CLOSE),
    _control("environment_destroy", ENVIRONMENT_DESTROY),
    _control("re_pause", RE_PAUSE, "option", checks=(one_of("option", ("deferred", "immediate")),)),
    _control("re_resume", RE_RESUME),
    _control("re_stop", RE_STOP),
    _control("re_abort", RE_ABORT),
    _control("re_halt", RE_HALT),
    Method(
        "re_runs",
        RE_RUNS,
        ("option",),
        fields={"run_list": "run_list", "run_list_uid": "run_list_uid"},
        failed={"run_list": [], "run_list_uid": ""},
        prefix="Error: ",
        checks=(one_of("option", ("active", "open", "closed")),),
    ),
    Method("config_get", CONFIG_GET, fields={"config": "config"}, failed={"config": {}}),
    Method(
        "re_metadata",
        RE_METADATA,
        fields={"re_metadata": "re_metadata"},
        failed={"re_metadata": {}},
        names_encoding=True,
    ),
    Method(
        "permissions_reload",
        PERMISSIONS_RELOAD,
        ("restore_plans_devices", "restore_permissions", "lock_key"),
        prefix="Error: ",
        to_reply=_warned,
    ),
    Method(
        "permissions_get",
        PERMISSIONS_GET,
        fields={"user_group_permissions": "user_group_permissions"},
        failed={"user_group_permissions": {}},
        prefix="Error: ",
    ),
    Method(
        "permissions_set",
        PERMISSIONS_SET,
        ("user_group_permissions", "lock_key"),
        prefix="Error: ",
        checks=PERMISSIONS,
        to_reply=_warned,
    ),
    Method("environment_update", ENVIRONMENT_UPDATE, ("run_in_background", "lock_key"), **_STARTED),
    Method(
        "script_upload",
        SCRIPT_UPLOAD,
        ("script", "update_lists", "update_re", "run_in_background", "lock_key"),
        checks=SCRIPT,
        **_STARTED,
    ),
    Method(
        "function_execute",
        FUNCTION_EXECUTE,
        ("item", *_CLAIM, "run_in_background", "lock_key"),
        fields={"item": "item", "task_uid": "task_uid"},
        failed={"item": ECHO_ITEM, "task_uid": None},
        prefix="Error: ",
        checks=(check_function, USER_GROUP, USER),
    ),
    Method(
        "task_status",
        TASK_STATUS,
        ("task_uid",),
        failed={"task_uid": ECHO_TASK, "status": None},
        prefix="Error: ",
        checks=TASK_UIDS,
        to_request=_task_uids,
        to_reply=_task_statuses,
    ),
    Method(
        "task_result",
        TASK_RESULT,
        ("task_uid",),
        fields={"task_uid": "task_uid", "status": "status", "result": "result"},
        failed={"task_uid": ECHO_TASK, "status": None, "result": None},
        prefix="Error: ",
        checks=(TASK_UID,),
    ),
    Method("lock", LOCK, ("lock_key", "note", "environment", "queue", "user"), checks=LOCK_PARAMS, **_LOCK),
    Method("lock_info", LOCK_INFO, ("lock_key",), **_LOCK),
    Method("unlock", UNLOCK, ("lock_key",), checks=UNLOCK_PARAMS, **_LOCK),
    Method(
        "kernel_interrupt",
        KERNEL_INTERRUPT,
        ("interrupt_task", "interrupt_plan", "lock_key"),
        prefix="Error: ",
        has_bare_refusals=True,
    ),
    Method("manager_kill", MANAGER_KILL, prefix="Error: ", is_silent_without_service=True, to_request=_hang_first),
    Method("manager_test", MANAGER_TEST, ("test_name",)),
    Method(
        "manager_stop",
        MANAGER_STOP,
        ("option",),
        prefix="Error: ",
        checks=(one_of("option", ("safe_on", "safe_off")),),
    ),
)

METHODS = {method.name: method for method in _ROWS}
"""By name."""

TAKES_ANYTHING = frozenset({"ping", "status"})
"""The methods that do not look at their parameters."""
