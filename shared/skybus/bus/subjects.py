"""Where messages go: the subjects of one instrument (design, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skybus.bus.errors import InvalidError
from skybus.bus.identity import user_token

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Subjects:
    """The subjects, streams and buckets of the instrument `inst`."""

    inst: str

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.inst):
            raise InvalidError(f"instrument {self.inst!r}: letters, digits, '_' and '-' only, at most 64")

    def command(self, user: str, endpoint: str) -> str:
        """Where `user` sends a request."""
        return f"sky.{self.inst}.cmd.{user_token(user)}.{endpoint}"

    def commands(self, endpoint: str) -> str:
        """Where a service receives the requests of all users."""
        return f"sky.{self.inst}.cmd.*.{endpoint}"

    def internal(self, name: str) -> str:
        """Between services, never exported to clients."""
        return f"sky.{self.inst}.int.{name}"

    def event(self, topic: str) -> str:
        """An event; `>` for all."""
        return f"sky.{self.inst}.evt.{topic}"

    def console(self, source: str) -> str:
        """Console output of a source; the worker's is followed by the item that was running, or `-`."""
        return f"sky.{self.inst}.console.{source}"

    def document(self, name: str, run_uid: str) -> str:
        """A Bluesky document of a run."""
        return f"sky.{self.inst}.doc.{name}.{run_uid}"

    def life(self, kind: str) -> str:
        """A report of the life of plans, tasks and the environment."""
        return f"sky.{self.inst}.int.life.{kind}"

    def life_part(self, token: str) -> str:
        """A part of a report that is larger than a message."""
        return self.life(f"part.{token}")

    @property
    def console_stream(self) -> str:
        """Console output."""
        return f"CONSOLE_{self.inst}"

    @property
    def docs_stream(self) -> str:
        """Bluesky documents."""
        return f"DOCS_{self.inst}"

    @property
    def life_stream(self) -> str:
        """Reports, read by the queue service."""
        return f"LIFE_{self.inst}"

    def read_again_from(self, subject: str) -> str | None:
        """The stream in which sent output or documents can be looked for; nothing for other subjects."""
        if subject.startswith(self.console("")):
            return self.console_stream
        return self.docs_stream if subject.startswith(f"sky.{self.inst}.doc.") else None

    def stored_under(self, event: str) -> str:
        """The subject of what a stream publishes again as this event."""
        return f"sky.{self.inst}.{event.removeprefix(self.event(''))}"

    def stream_behind(self, event: str) -> str | None:
        """The stream that publishes this event; nothing for the events of services."""
        return self.read_again_from(self.stored_under(event))

    @property
    def state_bucket(self) -> str:
        """The last value of each event topic."""
        return f"STATE_{self.inst}"

    def kept(self, topic: str) -> str:
        """Where the last value of an event topic is left for those who come late."""
        return f"$KV.{self.state_bucket}.{topic}"

    @property
    def blob_bucket(self) -> str:
        """What is larger than a message may be."""
        return f"BLOB_{self.inst}"
