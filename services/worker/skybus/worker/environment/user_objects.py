"""Looks at objects of user code: whatever they raise when they are looked at must not end the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from skybus.worker.environment.failures import clean, reason

T = TypeVar("T")

NOT_OURS_TO_CATCH = (KeyboardInterrupt, MemoryError)
"""What ends the work in any case."""
LONGEST_TEXT = 200
"""Characters of an object in a message."""
LONGEST_REASON = 400
"""Characters of an error in a message."""


def ask(question: Callable[[], T], otherwise: T) -> T:
    """Return the answer of user code, or something else if it raises: properties may raise `SystemExit`, too."""
    try:
        return question()
    except NOT_OURS_TO_CATCH:
        raise
    except BaseException:  # it is the caller who says what that means
        return otherwise


def shown(value: Any, limit: int = LONGEST_TEXT) -> str:
    """Return an object as a text that can be sent: its `repr`, cut; the name of its class if it has none."""
    text = ask(lambda: repr(value), f"<{type(value).__name__}>")
    text = clean(text if len(text) <= limit else f"{text[:limit]}…")
    return " ".join(text.split())


def why(error: BaseException) -> str:
    """Say what user code has raised, in short."""
    return shorten(ask(lambda: reason(error), "") or type(error).__name__, LONGEST_REASON)


def shorten(text: str, limit: int) -> str:
    """Cut a text that is too long for a message, and put it on one line."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else f"{line[:limit]}…"
