"""An expression of the permissions fits the names that it fits in Python, or is refused by name; none takes long."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skybus.auth.linear_pattern import LONGEST, compile_linear
from skybus.auth.permissions import (
    LONGEST_NAME,
    MOST_EXPRESSIONS,
    MOST_FAULTS,
    allowed_by_group,
    faults,
    is_function_allowed,
    parse_permissions,
)
from skybus.bus.errors import InvalidError

ENDLESS = "^((((([a-z_]+)+)+)+)+)+[0-9]$"
NAMES = [
    *("", "_", "det", "det1", "_secret", "Motor", "hutch.table.x", "a" * 70, "count_many_times"),
    *("dét", "МОТОР", "x\u0660", "ſ\u212aİı", "a\u2003b", "€", "\x1c", "\x0b", "det\n", "a\nb", "\ud800", "日本"),
]
EXPRESSIONS = [
    *("^count", ".*", "^_", "det", "^det$", r"^(det|motor)\d+$", "^(?P<kind>det|motor)", r"t\Z", "t$", r"\A_|x\Z"),
    *(r"\w{3,40}", r"^\w+$", r"\W", r"[^\W_]", r"^[^\d_]+$", r"\s", r"[\S]$", r"(?a)^\w+$", r"(?a)[^\w]", r"\x1c"),
    *(
        "(?i)^MOT",
        "(?i)[h-l]",
        "(?i)k",
        "(?ai)s",
        "(?s)^.{3}$",
        "^.{,4}$",
        "a{3}",
        "(?m)^b",
        "(?m)a$",
        "(a*b|_)*1",
        "a|",
    ),
    *("[é-ï]", "[^é]", "О", "(?a)\\btable\\b", "^(?!det)", "^(?=_)", "^(?!det$)(?!.*_)[a-z]", r"\A(?!\w*é)", "[]]"),
    *("a*?$", "(?#what for)det", "[.]", "[^a-z]", r"\.", r"\-", r"[\]a-]", "[\\u0430-\\u044f]", "日"),
]
ATOMS = st.sampled_from(
    [*"ad_1.", r"\d", r"\w", r"\s", r"\W", r"\D", "[a-e]", "[^a_]", r"[\d_]", "é", "[^é]", "^", "$"]
)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=4).map("".join),
        st.tuples(inner, inner).map("({0[0]}|{0[1]})".format),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "{,2}"])).map("({0[0]}){0[1]}".format),
    ),
    max_leaves=6,
)
TEXTS = st.text(st.sampled_from("ade_1.é٠ \u2003б"), max_size=8)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_fits_what_it_fits_in_python(expression):
    linear, python = compile_linear(expression), re.compile(expression)
    assert [name for name in NAMES if linear.search(name)] == [name for name in NAMES if python.search(name)]


@given(st.sampled_from(["", "(?i)", "(?a)", "(?s)"]), TREES, st.lists(TEXTS, min_size=5, max_size=5))
def test_a_generated_expression_fits_what_it_fits_in_python(flags, tree, texts):
    assume(flags != "(?i)" or "é" not in tree)
    linear, python = compile_linear(flags + tree), re.compile(flags + tree)
    assert [linear.search(text) for text in texts] == [bool(python.search(text)) for text in texts]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("det(?=1)", "lookahead is supported here at the beginning"),
        ("(?<!_)x", "lookbehind is not"),
        (r"(a|b)\1", "backreferences are not supported"),
        ("(a)(?(1)b|c)", "conditional groups"),
        ("a++", "possessive"),
        ("(?>a)", "atomic"),
        (r"\bdet", r"with '\(\?a\)' at the beginning"),
        (r"\B", r"write what stands there"),
        ("(?i)é", "in both cases"),
        ("a{1001}", "smaller numbers"),
        ("(a{100}){100}", "smaller numbers"),
        ("a{99999999999}", "smaller numbers"),
        ("[\x80-\U0010ffff]", "beyond ASCII"),
        ("x" * (LONGEST + 1), f"{LONGEST} are allowed"),
        ("(" * 480 + ")" * 480, "nested too deeply"),
        ("^" + "(?!a)" * 9, "8 are allowed"),
        ("(", "unterminated subpattern"),
    ],
)
def test_what_cannot_be_tried_in_linear_time_is_refused_by_name(expression, message):
    with pytest.raises(ValueError, match=message):
        compile_linear(expression)


def test_an_expression_that_python_tries_for_ever_is_tried_at_once():
    assert not compile_linear(ENDLESS).search("a_" * 10_000)


def test_permissions_with_too_many_expressions_are_refused():
    lines = [":a"] * (MOST_EXPRESSIONS + 1)
    with pytest.raises(InvalidError, match=f"{len(lines)} regular expressions, and {MOST_EXPRESSIONS} are allowed"):
        parse_permissions({"user_groups": {"root": {"allowed_plans": lines}}})


def test_of_many_unreadable_lines_some_are_named_and_the_others_counted():
    permissions = parse_permissions({"user_groups": {"root": {"allowed_plans": ["^a" * 1000] * 500}}})
    *named, more = faults(permissions)
    assert len(named) == MOST_FAULTS
    assert max(map(len, named)) < 500
    assert more == "400 more lines cannot be read"


def test_thousands_of_exact_names_allow_what_they_name():
    devices = {name: {"components": {"x": {}, "y": {}}} for name in ("a", "b", "c")}
    lines = [*(f"other{n}.x" for n in range(10_000)), "b.x", "c"]
    permissions = parse_permissions({"user_groups": {"root": {"allowed_devices": lines}}})
    assert list(allowed_by_group(permissions, {}, devices)["root"].devices) == ["b", "c"]


def test_a_function_whose_name_is_endless_is_not_allowed():
    permissions = parse_permissions({"user_groups": {"root": {"allowed_functions": [":^f+$"]}}})
    assert is_function_allowed(permissions, "root", "f" * LONGEST_NAME)
    assert not is_function_allowed(permissions, "root", "f" * (LONGEST_NAME + 1))
