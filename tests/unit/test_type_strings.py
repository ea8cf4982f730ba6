"""A type string is built into a type out of names; nothing in it runs."""

import typing

import pytest

from skybus.bus.type_strings import TypeStringError, evaluate_type, names_in

NAMES = {"int": int, "str": str, "list": list, "typing.Optional": typing.Optional, "typing.Literal": typing.Literal}


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        (" list[int] | None ", list[int] | None),
        ("typing.Optional[list[str]]", list[str] | None),
        ("typing.Literal['a', -1]", typing.Literal["a", -1]),
        ("'int'", int),
    ],
)
def test_a_type_is_built_of_the_names_that_are_given(text, type_):
    assert evaluate_type(text, NAMES.__getitem__) == type_


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').abort()",
        "(lambda: 1)()",
        "[print(1) for _ in (1,)]",
        "f'{print(1)}'",
        "int if print(1) else str",
        "list[print(1)]",
        "x := int",
        "list[",
        "import os",
        "",
    ],
)
def test_what_is_more_than_a_type_is_refused(text):
    with pytest.raises(TypeStringError):
        evaluate_type(text, NAMES.__getitem__)


def test_names_are_the_beginnings_of_dotted_names():
    assert names_in("typing.Union[Motors, list[a.b.c]]") == {"typing", "Motors", "list", "a"}
