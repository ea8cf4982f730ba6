r"""Text of users as people see it: `\x1b` and `\u202e` stand for what would steer a terminal or reverse the text."""

from __future__ import annotations

import json


def visible(text: str, keep: str = "") -> str:
    """Escape what is not printable, as Python writes it.

    Args:
        text: anything.
        keep: characters that stay, such as the end of a line.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def visible_json(text: str) -> str:
    """Escape the same in JSON, which stays the same JSON."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
