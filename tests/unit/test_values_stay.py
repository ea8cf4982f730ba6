"""Numbers and texts that JSON libraries change or refuse are carried as they are, or refused by name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgpack
import numpy as np
import pytest
import typer

from skybus.bridge.codec import Msgpack
from skybus.bus.api.queue import ITEM_ADD_BATCH, ItemAdd, QueuePage
from skybus.bus.errors import InvalidError
from skybus.bus.json_values import read_json, write_json
from skybus.bus.messages import decode, decode_request, encode
from skybus.cli.arguments import value_of

HALF = b"\xe9".decode("utf-8", "surrogateescape")
"""As in the name of a file that is not UTF-8."""
KEPT = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "beyond 64 bits": 2**70,
    "below 64 bits": -(2**70),
    "unsigned": 2**64 - 1,
    "minus zero": -0.0,
    "float that is whole": 1.0,
    "integer": 1,
    "smallest float": 5e-324,
    "beside null": [None, math.nan, None],
    "null": {"a": None, "b": [1, None]},
    "key": {str(2**70): 1},
}


@dataclass
class Point:
    x: float
    y: float | None


def sent(value: Any) -> Any:
    """What a service reads of an item that a client has sent."""
    request = ItemAdd.model_validate({"item": {"item_type": "plan", "name": "count", "kwargs": {"x": value}}})
    return decode_request(ItemAdd, encode(request)).item.kwargs["x"]


def same(left: Any, right: Any) -> bool:
    """Whether two values are the same, types and signs included; NaN is NaN."""
    return repr(left) == repr(right)


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT.keys())
def test_a_value_arrives_as_it_was_sent(value: Any) -> None:
    assert same(sent(value), value)


@pytest.mark.parametrize("number", range(4))
def test_what_a_message_does_not_say_stands_for_no_number(number: int) -> None:
    values = [math.nan] * number
    request = ItemAdd.model_validate({"item": {"item_type": "plan", "name": "count", "args": values}})
    assert same(decode_request(ItemAdd, encode(request)).item.args, values)
    page = QueuePage(items=[{"args": values}], running_item={"a": None}, plan_queue_uid="q", qsize=1)
    assert same(decode(QueuePage, encode(page)).items, [{"args": values}])
    assert same(read_json(write_json({"a": None, "b": None, "c": values})), {"a": None, "b": None, "c": values})


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT.keys())
def test_json_is_read_and_written_as_the_json_module_does(value: Any) -> None:
    assert same(read_json(write_json(value)), value)
    assert same(json.loads(write_json(value)), value)
    assert same(json.loads(write_json({"a": value}, indent=True)), {"a": value})


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (np.float64("nan"), math.nan),
        (np.float32("-inf"), -math.inf),
        (np.array([[1, math.nan], [math.inf, -math.inf]]), [[1.0, math.nan], [math.inf, -math.inf]]),
        (np.array([1.5, math.nan, 3], dtype="f4")[::-1], [3.0, math.nan, 1.5]),
        (np.longdouble(0.5), 0.5),
        ({math.nan: 1, 2**70: 2, 1.5: 3, True: 4}, {"NaN": 1, str(2**70): 2, "1.5": 3, "true": 4}),
        ((1, math.nan), [1, math.nan]),
        (Point(math.nan, None), {"x": math.nan, "y": None}),
        ([datetime(2026, 12, 1), math.nan], ["2026-12-01T00:00:00", math.nan]),
        ([np.arange(4)[::2], np.array([1, math.nan], dtype=object), None], [[0, 2], [1, math.nan], None]),
    ],
    ids=["scalar", "single", "array", "view", "long double", "keys", "tuple", "dataclass", "date", "arrays"],
)
def test_values_of_python_keep_what_json_can_say(value: Any, arrives: Any) -> None:
    assert same(sent(value), arrives)


def test_a_number_beyond_floats_is_infinite_as_for_python() -> None:
    body = b'{"item": {"item_type": "plan", "name": "count", "args": [1e400, -1e400]}}'
    assert decode_request(ItemAdd, body).item.args == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("value", "place", "why"),
    [
        (HALF, "item.kwargs.x", "half a character"),
        (["a", {"b": HALF}], "item.kwargs.x.1.b", "half a character"),
        ({HALF: 1}, "item.kwargs.x", "half a character"),
        ([1, 10**5000], "item.kwargs.x.1", "more than 4300 digits"),
    ],
    ids=["text", "inside", "key", "digits"],
)
def test_what_cannot_be_carried_is_refused_by_name_where_it_is_sent(value: Any, place: str, why: str) -> None:
    with pytest.raises(InvalidError) as refused:
        sent(value)
    assert f"parameter '{place}'" in str(refused.value)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [(r'"\ud800"', "half a character"), ("1" * 5000, "more than 4300 digits")],
    ids=["text", "digits"],
)
def test_what_another_client_sends_is_refused_by_name(text: str, why: str) -> None:
    body = '{"items": [{"item_type": "plan", "name": "count", "args": ["det", TEXT]}]}'.replace("TEXT", text)
    with pytest.raises(InvalidError, match=f"parameter 'items.0.args.1': .*{why}"):
        decode_request(ITEM_ADD_BATCH.request, body.encode())


def test_a_reply_that_msgpack_cannot_carry_is_refused_with_the_way_out() -> None:
    assert same(msgpack.unpackb(Msgpack().dumps({"a": [math.nan, -0.0]})), {"a": [math.nan, -0.0]})
    with pytest.raises(InvalidError, match="beyond 64 bits, which msgpack cannot carry"):
        Msgpack().dumps({"a": 2**70})


def test_a_word_of_the_command_line_that_is_too_long_for_an_integer_is_refused() -> None:
    assert value_of("1e400") == math.inf
    assert value_of(str(2**70)) == 2**70
    with pytest.raises(typer.BadParameter, match="4300 digits"):
        value_of("1" * 5000)
