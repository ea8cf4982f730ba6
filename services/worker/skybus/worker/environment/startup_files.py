"""Which files of a startup folder are startup code: what `*.py` and `*.ipy` match, as in IPython and the reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (".py", ".ipy")


@dataclass(frozen=True)
class StartupFiles:
    """The files of a folder."""

    files: list[Path] = field(default_factory=list)
    """In the order in which they are run."""
    ignored: list[str] = field(default_factory=list)
    """Why something that is named like startup code is none, one sentence each."""


def find_startup_files(folder: Path) -> StartupFiles:
    """Look through a folder; hidden files, as editors and file servers leave them, are no startup code.

    Raises:
        OSError: The folder cannot be read.
    """
    found = StartupFiles()
    for path in sorted(folder.iterdir()):
        if path.suffix not in SUFFIXES or path.name.startswith("."):
            continue
        if path.is_file():
            found.files.append(path)
        else:
            found.ignored.append(f"startup folder: '{path.name}' is not run: it is {_kind(path)}")
    return found


def unreadable(files: list[Path]) -> tuple[Path, OSError] | None:
    """Return the first file that cannot be opened: IPython would go on without it."""
    for path in files:
        try:
            path.open("rb").close()
        except OSError as error:
            return path, error
    return None


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "a link to nothing" if path.is_symlink() else "no regular file"
