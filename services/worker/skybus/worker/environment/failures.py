"""What user code has raised, in words that fit into a report."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

from skybus.worker.environment.startup import StartupError

REASON_CHARS = 10_000
TRACEBACK_CHARS = 100_000

_OURS = str(Path(__file__).parent)


def reason(error: BaseException) -> str:
    """Say what is wrong, in short."""
    if not isinstance(error, Exception):
        return f"the code has raised {clean(repr(error))[:REASON_CHARS]}"
    try:
        text = str(error)
    except Exception:  # user code wrote this, too
        text = ""
    return clean(text[:REASON_CHARS]) or type(error).__name__


def full_traceback(error: BaseException) -> str:
    """The traceback with its causes; it starts in the user's own code, if it ever got there."""
    if isinstance(error, StartupError):
        return shorten(error.traceback)
    return shorten("".join(traceback.format_exception(type(error), error, _user_part(error.__traceback__))))


def shorten(text: str) -> str:
    """Keep the end of a traceback, which says most."""
    text = clean(text)
    return text if len(text) <= TRACEBACK_CHARS else "...\n" + text[-TRACEBACK_CHARS:]


def clean(text: str) -> str:
    """Replace lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode()


def _user_part(tb: TracebackType | None) -> TracebackType | None:
    while tb and tb.tb_next and tb.tb_frame.f_code.co_filename.startswith(_OURS):
        tb = tb.tb_next
    return tb
