"""Reads type strings such as `list[__READABLE__] | None`: none of them is ever run as code."""

from __future__ import annotations

import ast
import typing
from collections.abc import Callable, Iterator
from typing import Any

Resolve = Callable[[str], Any]
"""Returns what a name, dotted or not, stands for."""


class TypeStringError(ValueError):
    """A string is no type expression."""


def parse_type(text: str) -> ast.expr:
    """Parse a type expression: names, subscripts, `|`, lists and plain values, and nothing that calls anything.

    Raises:
        TypeStringError: It is something else.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TypeStringError(f"parameter type {text!r} is not a Python expression") from error
    for part in ast.walk(node):
        if not isinstance(part, _PERMITTED):
            raise TypeStringError(f"parameter type {text!r} is more than a type: {ast.unparse(part)!r} is not possible")
    return node


def names_in(text: str) -> set[str]:
    """Return the names at the beginning of each dotted name.

    Raises:
        TypeStringError: It is no type expression.
    """
    return {node.id for node in ast.walk(parse_type(text)) if isinstance(node, ast.Name)}


def evaluate_type(text: str, resolve: Resolve) -> Any:
    """Make the type that a string describes.

    Raises:
        TypeStringError: It is no type expression.
        Exception: A name does not exist, or a type cannot be made of what it stands for.
    """
    return _evaluate(parse_type(text), resolve)


_PERMITTED = (
    *(ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.Constant),
    *(ast.BinOp, ast.BitOr, ast.UnaryOp, ast.USub, ast.Load),
)


def _evaluate(node: ast.expr, resolve: Resolve) -> Any:
    if isinstance(node, ast.Name | ast.Attribute):
        return resolve(ast.unparse(node))
    if isinstance(node, ast.BinOp):
        return _evaluate(node.left, resolve) | _evaluate(node.right, resolve)
    if isinstance(node, ast.Subscript):
        return _evaluate_generic(node, resolve)
    if isinstance(node, ast.List | ast.Tuple):
        return [_evaluate(part, resolve) for part in node.elts]
    value = ast.literal_eval(node)
    return evaluate_type(value, resolve) if isinstance(value, str) else value


def _evaluate_generic(node: ast.Subscript, resolve: Resolve) -> Any:
    generic, arguments = _evaluate(node.value, resolve), arguments_of(node)
    if generic is typing.Any:
        return generic
    if generic is typing.Literal:
        return generic[tuple(map(ast.literal_eval, arguments))]
    if generic is typing.Annotated:
        return _evaluate(arguments[0], resolve)
    parts = tuple(_evaluate(argument, resolve) for argument in arguments)
    return generic[parts[0] if len(parts) == 1 else parts]


def arguments_of(node: ast.Subscript) -> list[ast.expr]:
    """Return what stands in the brackets of a generic type."""
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def head_of(node: ast.expr) -> str:
    """Return the name of a type without its module and brackets."""
    return ast.unparse(node.value if isinstance(node, ast.Subscript) else node).split(".")[-1]


def members_of(node: ast.expr) -> Iterator[ast.expr]:
    """Take a union apart; what is none is its own member."""
    if isinstance(node, ast.BinOp):
        yield from members_of(node.left)
        yield from members_of(node.right)
    elif isinstance(node, ast.Subscript) and head_of(node) in ("Union", "Optional"):
        for argument in arguments_of(node):
            yield from members_of(argument)
        if head_of(node) == "Optional":
            yield ast.Constant(None)
    else:
        yield node


def fixed_places(node: ast.expr) -> list[ast.expr]:
    """Return the type of each place of a tuple with a fixed number of them; none for other types."""
    if not isinstance(node, ast.Subscript) or head_of(node) not in ("tuple", "Tuple"):
        return []
    arguments = arguments_of(node)
    return [] if arguments and ast.unparse(arguments[-1]) == "..." else arguments
