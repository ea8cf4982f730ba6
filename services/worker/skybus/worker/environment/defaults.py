"""Writes defaults of plan parameters as the texts that the catalogue carries: Python literals."""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from skybus.worker.environment.user_objects import NOT_OURS_TO_CATCH, shown

LONGEST_DEFAULT = 10_000
"""Characters of a default in the catalogue."""
MOST_PARTS = 100
"""Parts of a list, an array or a dictionary that are written when it has to be rewritten."""
DEEPEST = 5
"""Levels of lists in lists that are rewritten."""
_LONE_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*\\ud[89a-f][0-9a-f]{2}")
"""A lone surrogate as `repr` writes it."""

Description = dict[str, Any]


class NoLiteralError(ValueError):
    """A value that is no plain Python value."""


class TooLongError(NoLiteralError):
    """A plain value that is too long for the catalogue."""


def write_literal(value: Any) -> str:
    """Write a plain Python value.

    Raises:
        NoLiteralError: It is none, or JSON cannot carry it.
    """
    try:
        text = repr(value)
        if len(text) > LONGEST_DEFAULT:
            raise TooLongError(f"default of {len(text)} characters is too long: at most {LONGEST_DEFAULT} are listed")
        tree = ast.parse(text, mode="eval")
        ast.literal_eval(tree)
        if any(isinstance(part, ast.Constant) and part.value is ... for part in ast.walk(tree)):
            raise ValueError("it contains itself")
    except (*NOT_OURS_TO_CATCH, TooLongError):
        raise
    except BaseException as error:  # a `repr` of user code, which may raise anything
        raise NoLiteralError(f"default {shown(value)} is not a plain Python value") from error
    if has_lone_surrogate(text):
        raise NoLiteralError(f"default {shown(value)} has characters that cannot be sent")
    return text


def has_lone_surrogate(text: str) -> bool:
    """Tell whether a text that `repr` has written stands for characters that JSON cannot carry."""
    return _LONE_SURROGATE.search(text) is not None


def write_equivalent(value: Any, name_of: Callable[[Any], str | None]) -> str:
    """Write a plain value that does the same: the name of a device, the number of a numpy scalar, the text of a path.

    Raises:
        NoLiteralError: There is none.
    """
    return write_literal(_plain(value, name_of, DEEPEST))


def write_stand_in(value: Any) -> Description:
    """Describe a default that cannot be written: the parameter stays optional, and a text says what it is."""
    return {"default": repr(shown(value)), "default_is_text": True}


def _plain(value: Any, name_of: Callable[[Any], str | None], depth: int) -> Any:
    if name := name_of(value):
        return name
    if isinstance(value, enum.Enum) and isinstance(value, str | int | float):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size <= MOST_PARTS):
        return value.tolist()
    if depth == 0 or not isinstance(value, list | tuple | set | frozenset | Mapping):
        return value
    if len(value) > MOST_PARTS:
        raise NoLiteralError(f"default of {len(value)} parts is too long")
    if isinstance(value, Mapping):
        return {key: _plain(inner, name_of, depth - 1) for key, inner in value.items()}
    parts = [_plain(inner, name_of, depth - 1) for inner in value]
    return tuple(parts) if isinstance(value, tuple) else parts
