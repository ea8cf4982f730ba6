"""Standard input of an environment: nobody can answer there, and a plan must not take an empty answer for a yes."""

from __future__ import annotations

import builtins
import functools
import io
import sys
from typing import Any, NoReturn

SHOWN = 500
"""Characters of a question in the error."""


class NobodyAnswersError(EOFError):
    """User code asks a question where nobody can answer.

    It is an EOFError, so code that expects the end of standard input handles it.
    """

    def __init__(self, prompt: Any = "") -> None:
        question = str(prompt).strip()[:SHOWN]
        super().__init__(f"nobody can answer here: {question or 'the environment has no standard input'}")


class Keyboard(io.TextIOBase):
    """Raises whenever somebody reads; the descriptor below is that of `/dev/null`."""

    name = "<stdin>"
    encoding = "utf-8"

    @property
    def buffer(self) -> Keyboard:
        """Raises as well."""
        return self

    def fileno(self) -> int:
        """Return the descriptor of standard input."""
        return 0

    def readable(self) -> bool:
        """Whether somebody may try."""
        return True

    def read(self, _size: int | None = -1, /) -> NoReturn:
        """Refuse."""
        raise NobodyAnswersError

    def readline(self, _size: int = -1, /) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Refuse."""
        raise NobodyAnswersError


def remove_keyboard() -> None:
    """Make `input()` and reads from standard input fail, unless user code replaces `sys.stdin`."""
    sys.stdin = sys.__stdin__ = Keyboard()  # pyright: ignore[reportAttributeAccessIssue]
    asks = builtins.input

    @functools.wraps(asks)
    def ask(prompt: object = "", /) -> str:
        if nobody_answers():
            raise NobodyAnswersError(prompt)
        return asks(prompt)

    builtins.input = ask


def nobody_answers() -> bool:
    """Whether user code has not replaced the standard input at which nobody can answer."""
    return isinstance(sys.stdin, Keyboard)
