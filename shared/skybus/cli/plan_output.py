r"""Console output of plans as people see it: it may colour a terminal and draw progress bars there, and no more.

A terminal gets colours, carriage returns, and the moves and erasures of progress bars (`tqdm`, `rich`). What sets the
clipboard or the title, asks the terminal something or resets it is left out. A pipe or a file gets the text alone.
Every other control character is shown, such as `\x07`.
"""

from __future__ import annotations

import re
import sys

from skybus.bus.visible_text import visible

LONGEST = 4096
"""Characters of a sequence that is waited for."""

_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f\n]*"
"""OSC, DCS and other strings, as far as their end."""
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)(?P<parameters>[0-?]*)[ -/]*(?P<action>[@-~])"  # CSI, such as a colour
    rf"|{_STRING}(?:\x07|\x9c|\x1b\\)"
    r"|\x1b[ -/]*[0-OQ-WYZ`-~]"
)
_BEGUN = re.compile(rf"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*|{_STRING}\x1b?|\x1b[ -/]*)\Z")
"""A sequence of which the rest comes with the next piece of output."""
_DRAWING = re.compile(r"[0-9;:]{0,32}m|[0-9]{0,4}[ABCDGK]|0?J")
"""What a terminal gets: colours; up, down, right, left, to a column, erase a line, erase what follows."""
_PLAIN = "\x1b[0m"
_LAYOUT = "\n\t\r\b"
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|[\ud800-\udfff]")


class PlanOutput:
    """Makes pieces of output what people may see; a sequence may be cut between two pieces.

    Args:
        in_terminal: whether a terminal shows it.
        draws: whether a progress bar may move the cursor there.
    """

    def __init__(self, *, in_terminal: bool, draws: bool = True) -> None:
        self._in_terminal = in_terminal
        self._draws = draws
        self._begun = ""
        self._is_coloured = False

    def shown(self, text: str) -> str:
        """What is shown of a piece, and of the sequence that was begun before it."""
        text, self._begun = self._begun + text, ""
        begun = _BEGUN.search(text, max(0, len(text) - LONGEST))
        if begun:
            text, self._begun = text[: begun.start()], begun[0]
        return self._clean(text)

    def rest(self) -> str:
        """What is shown at the end: a sequence that nobody has finished, and no more colours."""
        text, self._begun = self._begun, ""
        return self._clean(text) + (_PLAIN if self._is_coloured else "")

    def _clean(self, text: str) -> str:
        pieces, end = list[str](), 0
        for found in _SEQUENCE.finditer(text):
            pieces += [_escaped(text[end : found.start()]), self._kept(found)]
            end = found.end()
        return "".join([*pieces, _escaped(text[end:])])

    def _kept(self, found: re.Match[str]) -> str:
        action = found["action"]
        if not self._in_terminal or action is None or not (self._draws or action == "m"):
            return ""
        what = f"{found['parameters']}{action}"
        self._is_coloured = self._is_coloured or action == "m"
        return f"\x1b[{what}" if _DRAWING.fullmatch(what) else ""


def plan_output() -> PlanOutput:
    """For standard output."""
    return PlanOutput(in_terminal=sys.stdout.isatty())


def _escaped(text: str) -> str:
    return _BIDI.sub(_visible, _CONTROL.sub(_visible, text))


def _visible(found: re.Match[str]) -> str:
    return visible(found[0], keep=_LAYOUT)
