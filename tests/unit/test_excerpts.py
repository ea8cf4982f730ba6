"""What is left out of the items of a page."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from skybus.bus.api.items import ItemSpec
from skybus.queue.excerpts import excerpt, excerpts

ITEM = {"name": "scan", "args": [["det"], "motor", -1.5, 1], "kwargs": {"num": 10}, "item_uid": "u"}


def test_without_a_bound_items_are_whole() -> None:
    assert excerpts([ITEM], None) == [ITEM]


@pytest.mark.parametrize(
    ("most", "left_out"), [(100, None), (20, ["args"]), (5, ["args", "kwargs"]), (0, ["args", "kwargs"])]
)
def test_what_has_more_bytes_is_left_out_and_named(most: int, left_out: list[str] | None) -> None:
    assert excerpt(ITEM, most).get("left_out") == left_out


def test_nothing_else_is_left_out() -> None:
    assert excerpt({**ITEM, "result": {"msg": "x" * 1000}, "meta": {"x": "y" * 50}}, 30) == {
        **ITEM,
        "result": {"msg": "x" * 1000},
        "left_out": ["meta"],
    }


def test_an_item_that_is_not_whole_is_not_taken_back() -> None:
    with pytest.raises(ValidationError, match=r"queue\.item\.get"):
        ItemSpec.model_validate({"item_type": "plan", **excerpt(ITEM, 5)})
