"""One option of `skybus re-manager`: how it is written in each of its sources, and what it sets in our services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from skybus.bus.errors import InvalidError

_YES, _NO = ("y", "yes", "t", "true", "on", "1"), ("", "n", "no", "f", "false", "off", "0")


class Kind(StrEnum):
    """What a value is, in words for people."""

    TEXT = "a text"
    NUMBER = "a whole number"
    YES_NO = "ON or OFF"
    WORDS = "a list of texts"


_TYPES: dict[Kind, type] = {Kind.TEXT: str, Kind.NUMBER: int, Kind.YES_NO: bool, Kind.WORDS: list}


@dataclass(frozen=True)
class Option:
    """A row of the table in `options.py`."""

    name: str
    """As the reference names the setting."""
    help: str
    kind: Kind = Kind.TEXT
    default: Any = None
    flag: str | None = None
    """Of the command line; by default the name with hyphens, `""` for none."""
    old_flag: str = ""
    """Deprecated, and still taken."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Flags that take no value, and what each of them stands for."""
    variable: str = ""
    """The environment variable."""
    old_variable: str = ""
    place: str = ""
    """In a configuration file, `section/key`."""
    choices: tuple[str, ...] = ()
    ignores_case: bool = False
    """Choices are in lower case and may be written in any."""
    setting: str = ""
    """Of our services: the environment variable that they read."""
    service: str = ""
    """The only one that is told; by default all of them."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """How our services write a value, where they do not write it alike."""
    group: str = ""
    """Under which heading `--help` shows it."""
    minimum: int | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """All flags, the deprecated one last."""
        own = "--" + self.name.replace("_", "-") if self.flag is None else self.flag
        return tuple(flag for flag in ((*self.constants,) if self.constants else (own, self.old_flag)) if flag)

    @property
    def variables(self) -> tuple[str, ...]:
        """All environment variables, the deprecated one last."""
        return tuple(name for name in (self.variable, self.old_variable) if name)

    def from_text(self, text: str, where: str) -> Any:
        """Read a value that was written as text; `None` where the reference takes it for not given.

        Raises:
            InvalidError: it is not of the right kind.
        """
        match self.kind:
            case Kind.NUMBER:
                return self.check(_whole(text), where, text)
            case Kind.YES_NO:
                return yes_or_no(text)
            case Kind.WORDS:
                return [word for word in text.split(":") if word]
        return self.check(text, where)

    def check(self, value: Any, where: str, given: Any = None) -> Any:
        """Return the value if it is right.

        Args:
            value: of one of the sources.
            where: is named in the error.
            given: what is shown in the error, if not the value.

        Raises:
            InvalidError: it is not; says what would be.
        """
        shown = value if given is None else given
        if self.ignores_case and isinstance(value, str):
            value = value.lower()
        if not self._is_right_kind(value):
            raise InvalidError(f"{where}: {shown!r} is given, {self.kind} is needed")
        if self.choices and value not in self.choices:
            raise InvalidError(f"{where}: {shown!r} is given, one of {', '.join(self.choices)} is needed")
        if self.minimum is not None and value < self.minimum:
            raise InvalidError(f"{where}: {shown!r} is given, at least {self.minimum} is needed")
        return value

    def for_services(self, value: Any) -> str:
        """Write the value as our services read it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, list):
            return ":".join(value)
        return self.meanings.get(value, str(value))

    def _is_right_kind(self, value: Any) -> bool:
        wanted = _TYPES[self.kind]
        if isinstance(value, bool):
            return wanted is bool
        if wanted is list and isinstance(value, list):
            return all(isinstance(word, str) for word in value) and len(set(value)) == len(value)
        return isinstance(value, wanted)


def yes_or_no(text: str) -> bool | None:
    """Read yes or no in the words of the reference; `None` for any other word."""
    word = text.lower()
    return True if word in _YES else False if word in _NO else None


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text
