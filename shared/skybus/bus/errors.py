"""The one error tree of skybus.

```
SkybusError               internal
├── InvalidError          invalid       the request cannot be right, whatever the state
│   └── TooLargeError     too_large
├── NotFoundError         not_found     no such item, plan, device, endpoint
├── WrongStateError       wrong_state   right request, wrong moment
├── DeniedError           denied        the user may not
├── LockedError           locked        somebody holds the lock
├── ConflictError         conflict      decided on stale knowledge
└── UnavailableError      unavailable   a part of the house does not answer
    └── NotSentError      unavailable   nobody got the request; raised where it was made, and never sent as a reply
        ├── NobodyThereError  unavailable  … since no service listens
        └── TooManyError      too_many     … since the service has too many requests of this user in hand
```

Handlers raise these; `service.py` turns them into error replies and `connection.py` turns the replies back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from skybus.bus.tracebacks import text_of


class SkybusError(Exception):
    """Something inside skybus went wrong; the service's log has the details."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        self.details = details
        """Facts for programs, by name; JSON values."""

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0])


class InvalidError(SkybusError):
    """The request is not valid."""

    code = "invalid"


class TooLargeError(InvalidError):
    """The message is larger than the bus carries."""

    code = "too_large"


class NotFoundError(SkybusError):
    """There is no such thing."""

    code = "not_found"


class WrongStateError(SkybusError):
    """This cannot be done in the present state."""

    code = "wrong_state"


class DeniedError(SkybusError):
    """You may not do this."""

    code = "denied"


class LockedError(SkybusError):
    """It is locked."""

    code = "locked"


class ConflictError(SkybusError):
    """The state has changed since you looked at it."""

    code = "conflict"


class UnavailableError(SkybusError):
    """A service that this needs does not answer."""

    code = "unavailable"


class NotSentError(UnavailableError):
    """The request did not get to a service: it was not carried out."""


class NobodyThereError(NotSentError):
    """No service listens where the request was sent."""


class TooManyError(NotSentError):
    """The service has as many large requests as it takes at once: this one was not carried out. Send it again.

    `details["retry_after"]` is when, in seconds.
    """

    code = "too_many"

    @property
    def retry_after(self) -> float:
        """Seconds after which the request may be sent again; zero if the service does not say."""
        seconds = self.details.get("retry_after")
        return max(0.0, float(seconds)) if isinstance(seconds, (int, float)) else 0.0


ERRORS: dict[str, type[SkybusError]] = {
    cls.code: cls
    for cls in (
        SkybusError,
        InvalidError,
        TooLargeError,
        NotFoundError,
        WrongStateError,
        DeniedError,
        LockedError,
        ConflictError,
        UnavailableError,
        TooManyError,
    )
}
"""Wire code to class."""


def why(error: BaseException) -> str:
    """What an error says, or what it is if it says nothing."""
    return text_of(error) or type(error).__name__


def error_from_wire(code: str, message: str, details: dict[str, Any] | None = None) -> SkybusError:
    """Make the error that a service raised out of what arrived."""
    return ERRORS.get(code, SkybusError)(message, **(details or {}))
