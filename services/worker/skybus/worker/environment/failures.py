"""What user code has raised, in words that fit into a report."""

from __future__ import annotations

from skybus.bus.error_text import being_written, formatted, represented, said, traceback_of
from skybus.worker.environment.startup import StartupError, user_part

REASON_CHARS = 10_000
TRACEBACK_CHARS = 100_000


def reason(error: BaseException) -> str:
    """Say what is wrong, in short."""
    error = being_written(error)
    if not isinstance(error, Exception):
        return f"the code has raised {clean(represented(error))[:REASON_CHARS]}"
    return clean(said(error)[:REASON_CHARS]) or type(error).__name__


def full_traceback(error: BaseException) -> str:
    """The traceback with its causes; it starts in the user's own code, if it ever got there."""
    if isinstance(error, StartupError):
        return shorten(error.traceback)
    tb = traceback_of(error)
    return shorten(formatted(error, user_part(tb) or tb))


def shorten(text: str) -> str:
    """Keep the end of a traceback, which says most."""
    text = clean(text)
    return text if len(text) <= TRACEBACK_CHARS else "...\n" + text[-TRACEBACK_CHARS:]


def clean(text: str) -> str:
    """Replace lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode()
