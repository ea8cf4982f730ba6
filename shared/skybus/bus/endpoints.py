"""What an endpoint is: a name, the model of its request, the model of its reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from skybus.bus.messages import Message
from skybus.bus.subjects import Subjects

Req = TypeVar("Req", bound=Message)
Rep = TypeVar("Rep", bound=Message)


@dataclass(frozen=True)
class Endpoint(Generic[Req, Rep]):
    """A call of the public API, sent on `sky.{inst}.cmd.{user}.{name}`."""

    name: str
    request: type[Req]
    reply: type[Rep]
    changes: bool = False
    """Whether it changes something: such a request is done once for one `Sky-Request-Id`."""

    def subject(self, subjects: Subjects, user: str) -> str:
        """Where `user` sends it."""
        return subjects.command(user, self.name)

    def pattern(self, subjects: Subjects) -> str:
        """Where its service listens."""
        return subjects.commands(self.name)


@dataclass(frozen=True)
class InternalEndpoint(Endpoint[Req, Rep]):
    """A call between services, sent on `sky.{inst}.int.{name}`; clients cannot reach it."""

    def subject(self, subjects: Subjects, user: str) -> str:
        """Where any service sends it."""
        return subjects.internal(self.name)

    def pattern(self, subjects: Subjects) -> str:
        """Where its service listens."""
        return subjects.internal(self.name)
