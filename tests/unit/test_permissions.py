"""A group sees what its lists allow, within what root allows."""

from pathlib import Path

import pytest

from skybus.auth.permissions import allowed_by_group, faults, is_function_allowed, load_permissions, parse_permissions
from skybus.bus.errors import InvalidError, NotFoundError

BUILT_IN = Path(__file__).parents[2] / "services/auth/skybus/auth"


def _device(*, readable=True, movable=False, **components):
    flags = {"is_readable": readable, "is_movable": movable, "is_flyable": False}
    return flags | ({"components": components} if components else {})


MOTOR = _device(movable=True)
DEVICES = {
    "_hidden": _device(),
    "det": _device(val=_device(), gain=MOTOR),
    "motor": MOTOR,
    "hutch": _device(table=_device(x=MOTOR, y=MOTOR), diode=_device(val=_device())),
}
PLANS = {
    name: {"name": name, "parameters": [{"name": "d", "annotation": {"type": "D", "devices": {"D": ["det", "motor"]}}}]}
    for name in ("count", "scan", "_secret")
}
ALL = {
    "allowed_plans": [None],
    "forbidden_plans": [":^_"],
    "allowed_devices": [None],
    "forbidden_devices": [":^_:?.*"],
    "allowed_functions": [None],
    "forbidden_functions": [":^_"],
}


def _allowed(**lists):
    return allowed_by_group(parse_permissions({"user_groups": {"root": ALL, "group": lists}}), PLANS, DEVICES)["group"]


def _names(devices, prefix=""):
    """List the dotted names that are allowed."""
    for name, description in devices.items():
        if not description.get("excluded"):
            yield prefix + name
        yield from _names(description.get("components", {}), f"{prefix}{name}.")


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        ({}, []),
        ({"allowed_devices": ["det"]}, ["det"]),
        ({"allowed_devices": ["hutch.table.x"]}, ["hutch.table.x"]),
        ({"allowed_devices": [":^hutch$:^table$:^x$"]}, ["hutch", "hutch.table", "hutch.table.x"]),
        ({"allowed_devices": [":-^hutch$:-^table$:^x$"]}, ["hutch.table.x"]),
        ({"allowed_devices": [":?.*:depth=1"]}, ["det", "motor", "hutch"]),
        ({"allowed_devices": [":?^h.*x$"]}, ["hutch.table.x"]),
        ({"allowed_devices": ["__MOTOR__:?.*"]}, ["det.gain", "motor", "hutch.table.x", "hutch.table.y"]),
        ({"allowed_devices": [None], "forbidden_devices": [":^hutch$:?.*", "det.val"]}, ["det", "det.gain", "motor"]),
    ],
)
def test_device_lists_select_levels_of_the_tree(lists, names):
    assert list(_names(_allowed(**lists).devices)) == names


def test_root_is_the_ceiling():
    allowed = _allowed(allowed_plans=[None], allowed_devices=[None], allowed_functions=[None])

    assert list(allowed.plans) == ["count", "scan"]
    assert "_hidden" not in allowed.devices


def test_lists_inside_plans_are_cut_to_what_is_allowed():
    allowed = _allowed(allowed_plans=[":^c"], allowed_devices=["motor"])

    assert list(allowed.plans) == ["count"]
    assert allowed.plans["count"]["parameters"][0]["annotation"]["devices"] == {"D": ["motor"]}
    assert PLANS["count"]["parameters"][0]["annotation"]["devices"] == {"D": ["det", "motor"]}


def test_functions_follow_their_own_lists():
    permissions = parse_permissions({"user_groups": {"root": ALL, "group": {"allowed_functions": [":^func", "_x"]}}})

    assert is_function_allowed(permissions, "group", "func_1")
    assert not is_function_allowed(permissions, "group", "other")
    assert not is_function_allowed(permissions, "group", "_x")
    with pytest.raises(NotFoundError, match="'nobody'"):
        is_function_allowed(permissions, "nobody", "func_1")


def test_built_in_permissions_have_groups_that_may_all_and_nothing():
    permissions = load_permissions(BUILT_IN)

    assert list(allowed_by_group(permissions, PLANS, DEVICES)["primary"].plans) == ["count", "scan"]
    observer = allowed_by_group(permissions, PLANS, DEVICES)["observer"]
    assert (observer.plans, observer.devices) == ({}, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "'user_groups' is a required property"),
        ({"user_groups": {"primary": {}}}, "Missing required user group: 'root'"),
        ({"user_groups": {"root": {"allowed_plan": []}}}, "user_groups → root → allowed_plan: Extra inputs"),
        (None, "top level"),
    ],
)
def test_faulty_permissions_are_refused_with_the_place(content, message):
    with pytest.raises(InvalidError, match=message):
        parse_permissions(content)


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("plans", ":(", "contains an invalid regular"),
        ("plans", "^count$", "starts with a colon"),
        ("devices", "__MOTORS__:x", "unknown device type '__MOTORS__'"),
    ],
)
def test_a_line_that_cannot_be_read_gives_no_right_away_and_is_named(kind, line, message):
    for rule, allowed in (("allowed", [line]), ("forbidden", [None])):
        lists = {**ALL, f"allowed_{kind}": allowed, f"forbidden_{kind}": [line] if rule == "forbidden" else []}
        permissions = parse_permissions({"user_groups": {"root": ALL, "group": lists}})
        (fault,) = faults(permissions)
        assert fault.startswith(f"user_groups → group → {rule}_{kind}: {line!r} ")
        assert message in fault
        assert getattr(allowed_by_group(permissions, PLANS, DEVICES)["group"], kind) == {}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidError, match=r"nothing\.yaml"):
        load_permissions(tmp_path / "nothing.yaml")
