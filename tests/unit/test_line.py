"""The line of items: order by keys, places by position and by uid."""

import pytest

from skybus.bus.errors import ConflictError, NotFoundError
from skybus.queue.line import Line, Slot, insertion_index


def items(*uids: str) -> list[dict]:
    return [{"item_uid": uid} for uid in uids]


def put(line: Line, index: int, *uids: str) -> None:
    keys = line.keys_for(index, len(uids))
    if keys is None:
        line.renumber()
        keys = line.keys_for(index, len(uids))
    line.put([Slot(key, item) for key, item in zip(keys, items(*uids), strict=True)])


def order(line: Line) -> str:
    return "".join(item["item_uid"] for item in line)


@pytest.fixture
def line() -> Line:
    line = Line()
    put(line, 0, *"abcd")
    return line


@pytest.mark.parametrize(
    ("pos", "expected"),
    [("front", "Xabcd"), ("back", "abcdX"), (None, "abcdX"), (0, "Xabcd"), (2, "abXcd"), (4, "abcdX"), (99, "abcdX"),
     (-1, "abcdX"), (-2, "abcXd"), (-4, "aXbcd"), (-5, "Xabcd"), (-99, "Xabcd")],
)  # fmt: skip
def test_a_new_item_goes_where_the_reference_puts_it(line: Line, pos, expected: str) -> None:
    put(line, insertion_index(line, pos), "X")
    assert order(line) == expected


def test_a_block_put_between_two_items_stays_together(line: Line) -> None:
    put(line, 2, *"123")
    assert order(line) == "ab123cd"
    assert [line.index(uid) for uid in "ab123cd"] == list(range(7))


def test_thousands_of_insertions_at_one_place_never_run_out_of_room(line: Line) -> None:
    for number in range(5000):
        put(line, 1, f"<{number}>")
    assert order(line) == "a" + "".join(f"<{n}>" for n in reversed(range(5000))) + "bcd"


def test_items_taken_out_leave_the_others_in_order(line: Line) -> None:
    assert [item["item_uid"] for item in line.take(["c", "a"])] == ["c", "a"]
    assert order(line) == "bd"
    assert line.uid_at("front") == "b"
    assert line.uid_at(-1) == "d"


def test_an_item_that_is_not_there_is_named(line: Line) -> None:
    with pytest.raises(NotFoundError, match="'x' is not in the queue"):
        line.index("x")
    with pytest.raises(NotFoundError, match="Index '7' is out of range"):
        line.uid_at(7)


def test_a_uid_cannot_stand_in_the_line_twice(line: Line) -> None:
    with pytest.raises(ConflictError, match="b is already in the queue"):
        put(line, 0, "b")
    assert order(line) == "abcd"
