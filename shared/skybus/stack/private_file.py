"""Files that nobody else can read."""

from __future__ import annotations

from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; one that is there already becomes so before."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
