"""Errors as text, also those of user code that Python itself cannot show.

`SyntaxError` takes any details, and fails with some when it is printed. `__str__` and properties of other classes may
raise.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def text_of(error: BaseException) -> str:
    """The message of an error; empty if it has none, or raises when it is asked."""
    return _asked(lambda: str(error))


def traceback_of(error: BaseException) -> TracebackType | None:
    """The traceback that Python has noted."""
    return _noted("__traceback__", error)


def format_error(error: BaseException, tb: TracebackType | None) -> str:
    """The traceback of an error with its causes, as Python prints it if it can.

    Args:
        error: anything that was raised.
        tb: its traceback from where it is to be shown.
    """
    return _asked(lambda: "".join(traceback.format_exception(type(error), error, tb))) or _plainly(error, tb)


def _plainly(error: BaseException, tb: TracebackType | None) -> str:
    """The same in less detail, without anything that a class may have replaced."""
    links = [_link(error, tb)]
    seen = {id(error)}
    while (before := _before(error)) and id(before[0]) not in seen:
        error, words = before
        seen.add(id(error))
        links += [words, _link(error, traceback_of(error))]
    return "".join(reversed(links))


def _link(error: BaseException, tb: TracebackType | None) -> str:
    frames = _asked(lambda: "".join(traceback.format_tb(tb)))
    header = "Traceback (most recent call last):\n" if frames else ""
    return f"{header}{frames}{': '.join(filter(None, (type(error).__name__, text_of(error))))}\n"


def _before(error: BaseException) -> tuple[BaseException, str] | None:
    """The error from which this one came, and in which way."""
    if cause := _noted("__cause__", error):
        return cause, _CAUSE
    if _noted("__suppress_context__", error):
        return None
    context = _noted("__context__", error)
    return (context, _CONTEXT) if context else None


def _noted(name: str, error: BaseException) -> Any:
    """What Python has noted under a name, whatever the class of the error has there."""
    return getattr(BaseException, name).__get__(error)


def _asked(question: Callable[[], str]) -> str:
    try:
        return question()
    except MemoryError:
        raise
    except BaseException:  # SystemExit among them: the error of a user must not end the process that reports it
        return ""
