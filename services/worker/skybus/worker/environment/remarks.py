"""What people are told of startup code that cannot be listed as it is."""

from __future__ import annotations

from skybus.worker.environment.user_objects import shorten

LONGEST = 500
"""Characters of one remark."""
MOST = 50
"""Remarks that are sent; the others are counted."""


class Remarks:
    """Remarks in the order in which they were made, each once."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}
        self._others = 0

    def add(self, text: str) -> None:
        """Keep a remark, or count it if there are very many."""
        text = shorten(text, LONGEST)
        if text in self._texts:
            return
        if len(self._texts) < MOST:
            self._texts[text] = None
        else:
            self._others += 1

    def told(self) -> list[str]:
        """Return the remarks, and a last one about those that are left out."""
        return [*self._texts, *([f"… and {self._others} more"] if self._others else [])]
