"""Standard input of an environment: nobody is there to answer, and a plan must not take silence for a yes."""

from __future__ import annotations

import builtins
import functools
import io
import sys
from typing import Any, NoReturn

SHOWN = 500
"""Characters of a question in the error."""


class NobodyAnswersError(EOFError):
    """User code has asked a question where nobody can answer.

    Code that deals with a standard input that has ended deals with this too.
    """

    def __init__(self, prompt: Any = "") -> None:
        question = str(prompt).strip()[:SHOWN]
        super().__init__(f"nobody can answer here: {question or 'standard input is asked for, and there is none'}")


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
    """Let user code that reads from standard input fail with what it asked for; one that replaces it has its own."""
    sys.stdin = Keyboard()
    asks = builtins.input

    @functools.wraps(asks)
    def ask(prompt: object = "", /) -> str:
        if nobody_answers():
            raise NobodyAnswersError(prompt)
        return asks(prompt)

    builtins.input = ask


def nobody_answers() -> bool:
    """Whether standard input is the one that nobody can answer at."""
    return isinstance(sys.stdin, Keyboard)
