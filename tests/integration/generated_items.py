"""Items for plans of a catalogue: some with arguments that fit, some with others, the same ones every time."""

from __future__ import annotations

import ast
from random import Random
from typing import Any

ANYTHING: list[Any] = [
    *(
        0,
        1,
        -3,
        7.5,
        2.0,
        10**20,
        True,
        False,
        None,
        "",
        "5",
        "2.5",
        "true",
        "text",
        "det1",
        "motor1",
        "hutch.table.top.x",
    ),
    *("nowhere", "hutch.table.nowhere", "not the variable's name", "count", "one", "auto", "fast", "det1.val.more"),
    *(
        [],
        [1, 2],
        [1.5, 2],
        ["det1"],
        ["det1", "nowhere"],
        ["1", "2"],
        [1, "a"],
        [[1, 2], [3, 4]],
        [None],
        [True, False],
    ),
    *(
        {},
        {"a": 1},
        {"a": "5"},
        {"a": 2.5},
        {"a": [1, 2]},
        {"a": "x"},
        {"motor1": "motor1"},
        [{"a": 1}],
        ["motor1", 1, 2],
    ),
]
"""Values of every kind that arrives in JSON."""

DEVICES = ["det1", "motor1", "hutch.table.top.x"]
PLAIN: dict[str, list[Any]] = {
    "int": [0, 1, -3, 12],
    "float": [0.5, 2, -1.25, 3.0],
    "bool": [True, False],
    "str": ["", "text", "5"],
    "None": [None],
    "NoneType": [None],
    "__PLAN__": ["count", "scan"],
    "__CALLABLE__": ["len", "numpy.sum"],
    **dict.fromkeys(("__DEVICE__", "__READABLE__", "__MOVABLE__", "__FLYABLE__", "__PLAN_OR_DEVICE__"), DEVICES),
}
LISTS = ("list", "List", "set", "Set", "frozenset", "Sequence", "Iterable", "Collection", "deque", "Deque")
TABLES = ("dict", "Dict", "Mapping", "OrderedDict")


def generate_items(plans: dict[str, Any], seed: int, each: int) -> list[dict[str, Any]]:
    """Make items for each plan."""
    random = Random(seed)
    return [_item(plan, random) for _, plan in sorted(plans.items()) for _ in range(each)]


def _item(plan: dict[str, Any], random: Random) -> dict[str, Any]:
    item: dict[str, Any] = {
        "item_type": "plan",
        "name": plan["name"],
        "args": [],
        "kwargs": {},
        "user_group": "primary",
    }
    by_position = random.random() < 0.5
    for parameter in plan["parameters"]:
        kind = parameter["kind"]["name"]
        if kind == "VAR_POSITIONAL":
            item["args"] += [_value(parameter, random) for _ in range(random.randint(0, 3) if by_position else 0)]
        elif kind == "VAR_KEYWORD":
            item["kwargs"] |= {f"extra{n}": _value(parameter, random) for n in range(random.randint(0, 2))}
        elif kind == "POSITIONAL_ONLY" or (kind == "POSITIONAL_OR_KEYWORD" and by_position):
            item["args"].append(_value(parameter, random))
        elif "default" not in parameter or random.random() < 0.6:
            item["kwargs"][parameter["name"]] = _value(parameter, random)
    return _spoiled(item, random)


def _spoiled(item: dict[str, Any], random: Random) -> dict[str, Any]:
    """Now and then leave something out, or give too much."""
    chance = random.random()
    if chance < 0.03 and item["kwargs"]:
        item["kwargs"].pop(random.choice(sorted(item["kwargs"])))
    elif chance < 0.06:
        item["args"].append(1)
    elif chance < 0.09:
        item["kwargs"]["unknown"] = 1
    elif chance < 0.12:
        item["meta"] = random.choice([{"a": 1}, [{"a": 1}], [], [1], "text", 5])
    return item


def _value(parameter: dict[str, Any], random: Random) -> Any:
    annotation = parameter.get("annotation")
    if not annotation or random.random() < 0.45:
        return random.choice(ANYTHING)
    own = {
        name: names for section in ("devices", "plans", "enums") for name, names in annotation.get(section, {}).items()
    }
    try:
        return _fitting(ast.parse(annotation["type"].strip(), mode="eval").body, own, random)
    except SyntaxError:
        return random.choice(ANYTHING)


def _fitting(node: ast.expr, own: dict[str, list[str]], random: Random) -> Any:
    if isinstance(node, ast.BinOp):
        return _fitting(random.choice([node.left, node.right]), own, random)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int | None) else 1
    if isinstance(node, ast.Subscript):
        return _fitting_generic(node, own, random)
    name = ast.unparse(node).split(".")[-1]
    if name in LISTS or name in ("tuple", "Tuple"):
        return [1, "a", 2.5][: random.randint(0, 3)]
    if name in TABLES:
        return {"a": 1}
    return random.choice(own.get(name) or PLAIN.get(name) or ANYTHING)


def _fitting_generic(node: ast.Subscript, own: dict[str, list[str]], random: Random) -> Any:
    head = ast.unparse(node.value).split(".")[-1]
    arguments = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if head in ("Union", "Optional", "Literal"):
        return _fitting(random.choice(arguments), own, random)
    if head in LISTS or (head in ("tuple", "Tuple") and arguments and ast.unparse(arguments[-1]) == "..."):
        return [_fitting(arguments[0], own, random) for _ in range(random.randint(0, 3))]
    if head in ("tuple", "Tuple"):
        return [_fitting(argument, own, random) for argument in arguments]
    if head in TABLES:
        return {key: _fitting(arguments[1], own, random) for key in ["a", "b"][: random.randint(0, 2)]}
    return _fitting(arguments[0], own, random) if head == "Annotated" else random.choice(ANYTHING)
