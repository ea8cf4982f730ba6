"""What a client must know to find its instrument."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from skybus.bus.errors import InvalidError
from skybus.bus.identity import user_token
from skybus.bus.messages import explain
from skybus.bus.settings import Access, BusSettings


class ClientSettings(BusSettings):
    """Where the bus is and who we are; without any setting, the stack of this user and its operator."""

    user: str = "operator"
    """Whose credentials to use."""
    connect_timeout: float = Field(default=3.0, gt=0)
    """Seconds."""

    request_timeout: float = Field(default=15.0, gt=0)
    """Seconds in which a request must be answered; until then it is sent again."""

    def my_access(self) -> Access:
        """Where the server is, and the credentials of the user."""
        check_user(self.user)
        return self.access(self.user)


def settings_of(given: dict[str, Any]) -> ClientSettings:
    """Make the settings of what a caller has given, the environment, and the defaults.

    Raises:
        InvalidError: one of them cannot be right.
    """
    unknown = [name for name in given if name not in ClientSettings.model_fields]
    if unknown:
        raise InvalidError(f"unknown settings {unknown}; known are {', '.join(ClientSettings.model_fields)}")
    try:
        return ClientSettings(**given)
    except ValidationError as error:
        raise InvalidError(explain(error)) from None


def check_user(name: str) -> None:
    """Refuse a name that no user can have.

    Raises:
        InvalidError: it is empty, too long, unprintable, or would name a file elsewhere.
    """
    user_token(name)
    if "/" in name or "\\" in name or name.startswith(".") or name != name.strip():
        raise InvalidError(f"user name {name!r}: no '/' or '\\', no '.' in front, no blanks around it")
