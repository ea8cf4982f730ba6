"""Large JSON: its size in memory is known before it is read, and it is read as small JSON is."""

from __future__ import annotations

import math
import random
import tracemalloc
from typing import Any

import orjson
import pytest

from skybus.bus.api.queue import MOST_ITEMS, ItemAddBatch, ItemRemoveBatch
from skybus.bus.errors import InvalidError, TooLargeError
from skybus.bus.large_json import estimated_size, read, require_bounded
from skybus.bus.messages import decode_large_request, decode_request

MEGABYTE = 1 << 20
RANDOM = random.Random(14)
PLAN = {"item_type": "plan", "name": "take", "args": [[1, 2.5, None]], "kwargs": {"n": True}, "meta": {"ü": 'a "b" \\'}}
VALUES: list[Any] = [
    {"items": [PLAN] * 5000, "user": "Ann"},
    [RANDOM.random() for _ in range(30_000)],
    [[], {}, [[]], "x" * 300_000, *range(20_000), [PLAN] * 3000, {"deep": [{"er": ["y" * 200_000]}]}],
    {str(number): number for number in range(30_000)},
    "z" * 300_000,
    [2**70] * 20_000,
]


@pytest.mark.parametrize("value", VALUES, ids=["batch", "floats", "mixed", "object", "text", "long integers"])
def test_what_is_read_in_slices_is_what_was_written(value: Any) -> None:
    data = orjson.dumps(value) if value != VALUES[-1] else str(value).encode()
    assert read(data) == value
    assert read(b" \n" + data.replace(b",", b" ,\n ") + b"\n") == value


def test_what_only_python_takes_for_json_keeps_its_value() -> None:
    value = read(b"[" + b"1, " * 100_000 + b"NaN, -Infinity, 1e400]")
    assert math.isnan(value[-3])
    assert value[-2:] == [-math.inf, math.inf]


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 300_000,
        b"[" * 300_000 + b"]" * 300_000,
        b"[" + b"1," * 200_000,
        b'{"a": ' * 100_000,
        b"\xff" * 300_000,
        b'"' + b"\\" * 300_001,
        b"[" + b"1 " * 200_000 + b"]",
        b"[" + b"1," * 200_000 + b"1] 1",
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidError, match="the request is not JSON"):
        read(data)


@pytest.mark.parametrize(
    "data",
    [b"[%b{}]" % (b"{}," * MEGABYTE), b"[%b[]]" % (b"[]," * MEGABYTE), b"[" * 3 * MEGABYTE, b'{"a":' * MEGABYTE],
    ids=["objects", "lists", "open lists", "open objects"],
)
def test_many_small_values_are_refused_before_they_are_made(data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="so many values that they take at least .* bytes of memory"):
        decode_large_request(ItemAddBatch, data, 16 * MEGABYTE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEGABYTE


@pytest.mark.parametrize(
    "text", [b"[{," * MEGABYTE, b'[{,\\"' * MEGABYTE, b"\\\\[{" * MEGABYTE], ids=["plain", "quoted", "escaped"]
)
def test_punctuation_in_a_text_is_no_value(text: bytes) -> None:
    require_bounded(b'{"script": "%b", "update_re": true}' % text, 1000)


def test_a_text_without_its_end_is_looked_at_once() -> None:
    assert estimated_size(b'"' + b'\\",' * 5_000_000, 1000) == 0


def test_a_large_request_is_validated_like_a_small_one() -> None:
    for cls, value in (
        (ItemAddBatch, {"items": [PLAN] * 5000, "pos": "back"}),
        (ItemRemoveBatch, {"uids": ["u"] * 90}),
    ):
        data = orjson.dumps(value)
        assert decode_large_request(cls, data, 64 * MEGABYTE) == decode_request(cls, data)
    with pytest.raises(InvalidError, match="unsupported parameter 'itme'"):
        decode_large_request(ItemAddBatch, orjson.dumps({"items": [], "itme": ["x" * 300_000]}), 64 * MEGABYTE)


def test_a_batch_has_a_largest_number_of_items() -> None:
    decode_request(ItemAddBatch, orjson.dumps({"items": [{}] * MOST_ITEMS}))
    for decode in (decode_request, lambda cls, data: decode_large_request(cls, data, 64 * MEGABYTE)):
        with pytest.raises(InvalidError, match="parameter 'items': List should have at most 20000 items"):
            decode(ItemAddBatch, orjson.dumps({"items": [{}] * (MOST_ITEMS + 1)}))
        with pytest.raises(InvalidError, match="parameter 'uids': List should have at most 100000 items"):
            decode(ItemRemoveBatch, orjson.dumps({"uids": ["u"] * 100_001}))
