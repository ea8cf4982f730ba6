"""Errors as text, also those of user code that Python itself cannot show."""

from __future__ import annotations

import traceback
from types import TracebackType


def format_error(error: BaseException, tb: TracebackType | None) -> str:
    """Return what Python prints of an error with this traceback; less if the error cannot be formatted.

    `SyntaxError` takes any details, and fails with some when it is printed. Properties of other classes may raise.
    """
    try:
        return "".join(traceback.format_exception(type(error), error, tb))
    except BaseException as failure:  # of user code: only the account of the error is at stake here
        frames = ["Traceback (most recent call last):\n", *traceback.format_tb(tb)] if tb else []
        why = f"Python cannot show more of this error: {type(failure).__name__}: {text_of(failure)}"
        return "".join([*frames, f"{type(error).__name__}: {text_of(error)}\n", f"({why})\n"])


def text_of(error: BaseException) -> str:
    """Return `str` of an error; nothing if that raises."""
    try:
        return str(error)
    except BaseException:  # user code wrote this, too
        return ""


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback that Python gave an error, whatever its class makes of the attribute."""
    return BaseException.__traceback__.__get__(error)  # pyright: ignore
