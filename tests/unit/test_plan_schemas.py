"""The JSON Schema of a plan takes what the plan takes, and offers the names that the user group may use."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from skybus.auth.catalogue import GroupView, build_catalogue
from skybus.auth.permissions import parse_permissions
from skybus.bus.api.catalog import PlanSchemas
from skybus.bus.errors import NotFoundError

DEVICES = {
    "det": {"is_readable": True, "components": {"val": {"is_readable": True}, "_secret": {"is_readable": True}}},
    "motor": {"is_readable": True, "is_movable": True},
    "shutter": {"is_readable": True, "is_movable": True},
}


def _parameter(name: str, type_: str | None = None, kind: str = "POSITIONAL_OR_KEYWORD", **more: Any) -> dict[str, Any]:
    annotation = {"annotation": {"type": type_, **more.pop("annotation", {})}} if type_ else {}
    return {"name": name, "kind": {"name": kind, "value": 1}, **annotation, **more}


def _described(*parameters: dict[str, Any], name: str = "plan") -> PlanSchemas:
    schemas, definitions = _view({"plan": {"name": "plan", "parameters": list(parameters)}}).schemas([name])
    return PlanSchemas(schemas=schemas, definitions=definitions, uid="")


def _view(plans: dict[str, Any]) -> GroupView:
    users = {"allowed_plans": [None], "allowed_devices": ["det", "det.val", "motor"]}
    everything = {"allowed_plans": [None], "allowed_devices": [None]}
    permissions = parse_permissions({"user_groups": {"root": everything, "users": users}})
    return build_catalogue(permissions, plans, DEVICES).groups["users"]


@pytest.mark.parametrize(
    ("parameter", "fits", "does_not_fit"),
    [
        (_parameter("p", "int | None"), [1, None], ["1", 1.5, True]),
        (_parameter("p", "typing.Optional[float]"), [1, 1.5, None], ["1"]),
        (_parameter("p", "list[__READABLE__]"), [[], ["det", "det.val"]], ["det", ["shutter"], ["det._secret"], [1]]),
        (_parameter("p", "__MOVABLE__ | float"), ["motor", 2.5], ["det", "shutter", None]),
        (_parameter("p", "tuple[__MOVABLE__, float]"), [["motor", 1]], [["motor"], ["motor", 1, 2], [1, 1]]),
        (_parameter("p", "dict[str, list[int]]"), [{}, {"a": [1]}], [{"a": 1}, []]),
        (_parameter("p", "typing.Literal['fast', 2]"), ["fast", 2], ["slow"]),
        (_parameter("p", "typing.Dict[str, float]", min="0", max="1"), [{"a": 0.5}], [{"a": 2}]),
        (_parameter("p", "float", min="-1", max="10.5", step="0.5"), [-1, 2.5, 10.5], [-2, 11, 0.3]),
        (_parameter("p"), [1, "x", None, []], []),
        (_parameter("p", "Modes", annotation={"enums": {"Modes": ["a", "b"]}}), ["a"], ["c", 1]),
        (_parameter("p", "M", annotation={"devices": {"M": ["motor", "shutter"]}}), ["motor"], ["shutter", "det"]),
        (_parameter("p", "int", "VAR_POSITIONAL"), [[], [1, 2]], [1, ["a"]]),
    ],
)
def test_a_schema_takes_what_the_parameter_takes(parameter, fits, does_not_fit):
    schema = _described(parameter).document("plan")
    Draft202012Validator.check_schema(schema)
    takes = Draft202012Validator(schema).is_valid
    assert [value for value in fits if not takes({"p": value})] == []
    assert [value for value in does_not_fit if takes({"p": value})] == []


def test_a_form_knows_what_is_required_what_is_preset_and_what_it_is_for():
    schema = _described(
        _parameter("detectors", "list[__READABLE__]", description="What is read."),
        _parameter("num", "int", default="1"),
        _parameter("shape", default="(1, 'a')"),
        _parameter("more", "float", "VAR_KEYWORD"),
    ).document("plan")
    assert schema["required"] == ["detectors"]
    assert schema["properties"]["detectors"]["description"] == "What is read."
    assert (schema["properties"]["num"]["default"], schema["properties"]["shape"]["default"]) == (1, [1, "a"])
    takes = Draft202012Validator(schema).is_valid
    assert takes({"detectors": ["det"], "anything": 1.5})
    assert not takes({"detectors": ["det"], "anything": "x"})
    assert not takes({"num": 2})


def test_names_are_listed_once_for_all_plans():
    schemas, definitions = _view(
        {
            name: {"name": name, "parameters": [_parameter("p", "list[__READABLE__]"), _parameter("q", "__READABLE__")]}
            for name in ("a", "b", "c")
        }
    ).schemas()
    assert definitions == {"readable": {"type": "string", "enum": ["det", "det.val", "motor"]}}
    assert schemas["a"]["properties"]["q"] == {"$ref": "#/$defs/readable"}


def test_a_plan_that_is_not_allowed_has_no_schema():
    with pytest.raises(NotFoundError, match="Did you mean 'plan'"):
        _described(name="plam")
