"""What to do next when something is refused."""

from __future__ import annotations

from skybus.bus.errors import SkybusError

_HINTS = (
    ("environment does not exist", "`skybus env open` opens it"),
    ("no environment has been opened yet", "`skybus env open` opens one"),
    ("environment is not open", "`skybus env open` opens it"),
    ("environment already exists", "`skybus env close` closes it"),
    ("not in the list of allowed plans", "`skybus plans` lists those that you may run"),
    ("is not in the queue", "`skybus queue list` shows what is"),
    ("Queue is empty", "`skybus queue add PLAN` puts something into it"),
    ("is not paused", "`skybus re pause` pauses the running plan, `skybus re abort --now` ends it"),
    ("in the history already", "--replace puts the backup in their place, after a backup of them"),
    ("history can be replaced in", "`skybus queue stop` stops the queue after the running plan"),
    ("Queue execution is in progress", "`skybus queue stop` stops the queue after the running plan"),
    ("is busy", "`skybus status` shows with what"),
    ("not idle", "`skybus status` shows what it does"),
    ("must be in idle state", "`skybus status` shows what it does; a task with --background need not wait"),
    ("no service answers", "`skybus doctor` shows what is missing; `skybus up` starts everything"),
    ("cannot read the credentials", "`skybus up` makes those of the user 'operator'"),
    ("was lost", "try again"),
)
"""A part of a message, and the next step."""


def sentence(error: SkybusError | TimeoutError) -> str:
    """The message of an error in one line, with the next step where there is one."""
    message = " ".join((error.message if isinstance(error, SkybusError) else str(error)).split())
    step = next((step for part, step in _HINTS if part in message), None)
    return f"{message.rstrip('.')}: {step}" if step and step not in message else message
