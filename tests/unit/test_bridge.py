"""The bridge's table, its checks and its encodings, without sockets."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skybus.bridge.checks import check_function, check_mode, check_unsupported, item_problem
from skybus.bridge.codec import Json, Msgpack
from skybus.bridge.control import split_envelope
from skybus.bridge.method import Method
from skybus.bridge.methods import METHODS
from skybus.bus.errors import InvalidError, LockedError, UnavailableError, WrongStateError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_table_agrees_with_the_endpoint(method: Method):
    if method.name != "task_status":  # one uid or several: it has a shape of its own
        assert set(method.params) <= set(method.endpoint.request.model_fields)
        assert set(method.failed) <= set(method.fields)
    assert set(method.fields.values()) <= set(method.endpoint.reply.model_fields)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_refusal_has_every_field_of_a_reply(method: Method):
    refusal = method.refusal(UnavailableError("gone"), {})
    assert refusal["success"] is False
    assert refusal["msg"].endswith("gone")
    assert set(refusal) == {"success", "msg", *(method.fields or method.failed)}


def test_prefix_depends_on_what_was_wrong():
    method = METHODS["environment_open"]
    assert method.refusal(WrongStateError("exists"), {})["msg"] == "exists"
    assert method.refusal(InvalidError("odd"), {})["msg"] == "Error: odd"
    assert method.refusal(LockedError("key"), {})["msg"] == "Error: key"
    assert METHODS["queue_item_get"].refusal(WrongStateError("x"), {})["msg"] == "Failed to get an item: x"


def test_negative_history_size_keeps_nothing():
    method = METHODS["history_clear"]
    assert method.to_request({"size": -1}) == {"size": 0}
    assert method.to_request({"item_uid": "a"}) == {"item_uid": "a"}


def test_unsupported_parameters_are_named():
    check_unsupported({"a": 1}, ("a", "b"))
    with pytest.raises(InvalidError, match="unsupported parameters: 'c'"):
        check_unsupported({"a": 1, "c": 2}, ("a",))
    with pytest.raises(InvalidError, match=r"unsupported parameters: \['c', 'd'\]"):
        check_unsupported({"c": 1, "d": 2}, ())


def test_one_task_has_a_status_and_several_have_one_each():
    method = METHODS["task_status"]
    assert method.to_request({"task_uid": "a"}) == {"task_uids": ["a"]}
    answer = {"statuses": {"a": "running", "b": "completed"}}
    assert method.reply(answer, {"task_uid": "a"})["status"] == "running"
    assert method.reply(answer, {"task_uid": ["a", "b"]})["status"] == answer["statuses"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "Function name is not specified"),
        ({"args": 50}, "Parameter 'args' is not a tuple or a list"),
        ({"kwargs": [1]}, "Parameter 'kwargs' is not a dictionary"),
        ({"item_type": "plan"}, "unsupported 'item_type' value: 'plan'"),
    ],
)
def test_odd_function_calls_are_refused(changes: dict[str, Any], said: str):
    item = {"item_type": "function", "name": "f", "args": [], "kwargs": {}}
    check_function({"item": item})
    odd = {name: value for name, value in {**item, **changes}.items() if value is not None}
    with pytest.raises(InvalidError, match=said):
        check_function({"item": odd})


@pytest.mark.parametrize("mode", ["unknown_str", ["a"], {"unsupported_key": True}, {"loop": 10}, None])
def test_odd_modes_are_refused(mode: Any):
    with pytest.raises(InvalidError, match="mode|Unsupported"):
        check_mode({"mode": mode})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Parameter 'user_group_permissions' is missing"),
        ({"user_group_permissions": None}, "Invalid type '<class 'NoneType'>', must be 'dict'"),
        ({"user_group_permissions": [1]}, "Invalid type '<class 'list'>', must be 'dict'"),
    ],
)
def test_permissions_must_be_a_dictionary(params: dict[str, Any], message: str):
    (check,) = METHODS["permissions_set"].checks
    with pytest.raises(InvalidError, match=message):
        check(params)


@settings(max_examples=30)
@given(JSON)
def test_any_item_is_judged_without_failing(item: Any):
    assert item_problem(item) is None or "Incorrect request format" in str(item_problem(item))


@settings(max_examples=30)
@given(JSON)
def test_json_goes_through_unchanged(value: Any):
    decoded = Json().loads(json.dumps(value).encode())
    assert json.loads(Json().dumps(decoded.value, is_odd=decoded.is_odd)) == json.loads(json.dumps(value))


@settings(max_examples=30)
@given(JSON)
@example([2**70, math.inf])
def test_fields_go_through_unchanged(value: Any):
    sent = {"field": value, "next": [value]}
    decoded = Json().loads_fields(json.dumps(sent).encode())
    assert json.loads(Json().dumps(decoded.value, is_odd=decoded.is_odd)) == sent


@given(st.binary())
def test_garbage_is_refused_and_nothing_else(data: bytes):
    for codec in (Json(), Msgpack()):
        try:
            codec.loads(data)
        except InvalidError as error:
            assert "decode error" in error.message  # noqa: PT017


def test_numbers_beyond_json_survive():
    decoded = Json().loads(b"[NaN, Infinity, 12345678901234567890123]")
    assert decoded.is_odd
    nan, infinity, big = json.loads(Json().dumps(decoded.value, is_odd=True))
    assert math.isnan(nan)
    assert (infinity, big) == (math.inf, 12345678901234567890123)
    assert json.loads(Json().dumps([2**70])) == [2**70]


@pytest.mark.parametrize(
    ("frames", "envelope", "parts"),
    [
        ([b"id", b"", b"x"], [b"id", b""], [b"x"]),
        ([b"id", b"x"], [b"id"], [b"x"]),
        ([b"id", b"", b"x", b"y"], [b"id", b""], [b"x", b"y"]),
        ([b"id", b""], [b"id", b""], []),
        ([b"id"], [b"id"], []),
    ],
)
def test_envelope_is_parted_from_the_request(frames: list[bytes], envelope: list[bytes], parts: list[bytes]):
    assert split_envelope(frames) == (envelope, parts)
