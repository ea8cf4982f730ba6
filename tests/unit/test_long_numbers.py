"""Which numbers over 0MQ are read the slow way: integers beyond 64 bits, and no others."""

from __future__ import annotations

import json

import pytest

from skybus.bridge.codec import Json


@pytest.mark.parametrize("value", [2**70, -(2**70), [1.5, 10**18 * 10]])
def test_an_integer_beyond_64_bits_keeps_its_value(value: object) -> None:
    assert Json().loads(json.dumps(value).encode()) == (value, True)


@pytest.mark.parametrize(
    "value", [0.0012345678901234567, 12345678901234567890.5, 1e300, 0.1, 1e-17, 123456789012345678]
)
def test_a_float_with_many_digits_is_read_quickly(value: float) -> None:
    assert Json().loads(json.dumps([value]).encode()) == ([value], False)
