"""A wrong item is refused with what is wrong and what would be right; a right one passes."""

import time

import pytest

from skybus.auth.check import ItemChecker, check_item
from skybus.bus.errors import DeniedError, InvalidError, NotFoundError
from tests.promises import within

KINDS = {"POSITIONAL_OR_KEYWORD": 1, "VAR_POSITIONAL": 2, "KEYWORD_ONLY": 3, "VAR_KEYWORD": 4}


def _parameter(name, type_=None, kind="POSITIONAL_OR_KEYWORD", *, annotation=None, **more):
    typed = {"annotation": {"type": type_, **(annotation or {})}} if type_ else {}
    return {"name": name, "kind": {"name": kind, "value": KINDS[kind]}, **typed, **more}


def _plan(name, *parameters):
    return {"name": name, "parameters": list(parameters)}


READ = _parameter("detectors", "collections.abc.Sequence[__READABLE__]")
PLANS = {
    "count": _plan(
        "count",
        READ,
        _parameter("num", "int | None", default="1"),
        _parameter("delay", "float | collections.abc.Iterable[float]", default="0.0"),
        _parameter("md", "dict[str, typing.Any] | None", "KEYWORD_ONLY", default="None"),
    ),
    "scan": _plan("scan", READ, _parameter("args", "__MOVABLE__ | typing.Any", "VAR_POSITIONAL")),
    "list_scan": _plan(
        "list_scan", READ, _parameter("args", "tuple[__MOVABLE__ | typing.Any, list[typing.Any]]", "VAR_POSITIONAL")
    ),
    "move": _plan(
        "move",
        _parameter("motor", "Motors", annotation={"devices": {"Motors": ["motor1", "motor2"]}}),
        _parameter("position", "float", min="-10", max="10"),
        _parameter("mode", "typing.Literal['fast', 'slow']", default="'fast'"),
        _parameter("flags", "typing.Dict[str, bool]", default="{}"),
    ),
    "label": _plan("label", _parameter("at", "typing.Union[str, Dets]", annotation={"devices": {"Dets": ["det"]}})),
    "untyped": _plan("untyped", _parameter("anything")),
}
DEVICES = {
    "det": {"components": {"val": {}}},
    "motor1": {},
    "motor2": {},
    "hutch": {"excluded": True, "components": {"x": {}}},
}
EXISTING_PLANS = {**PLANS, "expert_scan": _plan("expert_scan")}
EXISTING_DEVICES = {**DEVICES, "shutter": {}}


def _check(name, *args, devices=DEVICES, **kwargs):
    item = {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}
    check_item(item, "users", PLANS, devices, existing_plans=EXISTING_PLANS, existing_devices=EXISTING_DEVICES)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("count", [["det", "det.val", "hutch.x"]], {"num": None, "delay": 1}),
        ("count", [], {"detectors": ["det"], "delay": [0.1, 2], "md": {"sample": "gold"}}),
        ("scan", [["det"], "motor1", 0, 1, "motor2", -1, 1.5], {}),
        ("list_scan", [["det"], "motor1", [1, 2], "motor2", [3, 4]], {}),
        ("list_scan", [["det"], ["motor1", [1, 2]]], {}),
        ("move", ["motor1", 3, "slow", {"a": True}], {}),
        ("label", ["any text"], {}),
        ("untyped", [["motor1", "no device"]], {}),
    ],
)
def test_right_items_pass(name, args, kwargs):
    _check(name, *args, **kwargs)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "message"),
    [
        (
            "count",
            [],
            {},
            r"missing a required argument: 'detectors'.* count\(detectors, num=1, delay=0.0, \*, md=None",
        ),
        ("count", [["det"]], {"nmu": 2}, "unexpected keyword argument 'nmu'. Did you mean 'num'"),
        ("count", [["det"], 1, 0, 5], {}, "too many positional arguments"),
        ("count", [["det"]], {"num": "3"}, r"Incorrect parameter type: key='num', value='3'.*should be int or None"),
        ("count", [["det"]], {"num": 2.5}, "key='num', value='2.5'"),
        ("count", ["det"], {}, r"key='detectors', value='det'.*Sequence\[Readable\], such as \['det'\]"),
        ("count", [[3]], {}, "item 0: 3 .int. should be the name of a device"),
        ("move", ["motor1", 11], {}, r"Value 11 is out of range \[-10, 10\]"),
        ("move", ["det", 1], {}, "Parameter 'motor': 'det' is not one of motor1, motor2"),
        ("move", ["motor1", 1, "medium"], {}, "should be 'fast' or 'slow'"),
        ("move", ["motor1", 1, "fast", {"a": "maybe"}], {}, "value of 'a'.*should be bool"),
        ("list_scan", [["det"], "motor1", 5], {}, r"5 \(int\) should be list"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name, args, kwargs, message):
    with pytest.raises(InvalidError, match=message):
        _check(name, *args, **kwargs)


def test_a_plan_that_does_not_exist_is_not_found_with_a_suggestion():
    with pytest.raises(NotFoundError, match=r"Plan 'conut' is not in the list of allowed plans. Did you mean 'count'"):
        _check("conut")


def test_a_plan_of_others_is_denied():
    with pytest.raises(DeniedError, match=r"'expert_scan' is not in the list of allowed plans.*group 'users'"):
        _check("expert_scan")


@pytest.mark.parametrize(
    ("given", "suggested"),
    [("dett", "'det'"), ("det.vall", "'det.val'"), ("dte.val", "'det.val'"), ("motor9", "'motor")],
)
def test_a_device_that_does_not_exist_is_named_with_its_parameter(given, suggested):
    with pytest.raises(NotFoundError, match=f"Parameter 'detectors': Device '{given}' .* Did you mean .*{suggested}"):
        _check("count", [given])


@pytest.mark.parametrize("plan", ["count", "untyped"])
def test_a_device_that_is_not_allowed_is_denied_wherever_it_would_be_used(plan):
    with pytest.raises(DeniedError, match="Device 'shutter' is not in the list of allowed devices"):
        _check(plan, ["shutter"])


def test_a_text_that_names_a_device_is_denied_where_it_would_become_the_device():
    with pytest.raises(DeniedError, match="Parameter 'at': Device 'shutter' is not in the list of allowed devices"):
        _check("label", "shutter")


def test_only_known_instructions_pass():
    check_item({"item_type": "instruction", "name": "queue_stop"}, "users", {}, {})
    with pytest.raises(InvalidError, match="Unrecognized instruction: 'queue_start'"):
        check_item({"item_type": "instruction", "name": "queue_start"}, "users", {}, {})


@pytest.mark.parametrize("item", [{}, {"name": "count", "item_type": "x"}, {"name": "untyped", "args": "ab"}])
def test_malformed_items_are_refused(item):
    with pytest.raises(InvalidError):
        check_item(item, "users", PLANS, DEVICES)


def test_metadata_must_be_dictionaries():
    with pytest.raises(InvalidError, match="'meta' must be a dictionary"):
        check_item({"name": "count", "args": [["det"]], "meta": [1]}, "users", PLANS, DEVICES)


def test_type_strings_are_never_run():
    plans = {"odd": _plan("odd", _parameter("a", "__import__('os').abort()"))}
    check_item({"name": "odd", "args": [1]}, "users", plans, {})


@within(0.5)
def test_a_hundred_items_are_quick_with_thousands_of_devices(limit):
    devices = {f"dev_{number}": {"components": {"x": {}}} for number in range(13_000)}
    start = time.perf_counter()
    for number in range(100):
        _check("count", [f"dev_{number}", f"dev_{number}.x"], devices=devices)
    assert time.perf_counter() - start < limit


def test_a_function_needs_the_right_to_be_called():
    checker = ItemChecker("users", {}, {}, allows_function={"function_sleep"}.__contains__)
    checker.check({"item_type": "function", "name": "function_sleep", "args": [1], "kwargs": {}})
    with pytest.raises(DeniedError, match="Function 'reboot' is not allowed for users from 'users' group"):
        checker.check({"item_type": "function", "name": "reboot"})
    for wrong in ({"args": {}}, {"kwargs": []}, {"name": ""}):
        with pytest.raises(InvalidError):
            checker.check({"item_type": "function", "name": "function_sleep", **wrong})


def test_a_name_that_is_not_allowed_may_be_queued_by_who_acts_for_others_and_no_other_fault_may():
    checker = ItemChecker("users", PLANS, DEVICES, EXISTING_PLANS, EXISTING_DEVICES)

    def check(*args):
        checker.check({"item_type": "plan", "name": "count", "args": list(args)}, is_queued_only=True)

    check(["det", "shutter"])
    with pytest.raises(NotFoundError, match="nowhere"):
        check(["nowhere", "shutter"])
    with pytest.raises(InvalidError, match="num"):
        check(["shutter"], "many")
    with pytest.raises(DeniedError, match="expert_scan"):
        checker.check({"item_type": "plan", "name": "expert_scan"}, is_queued_only=True)
