"""Says in whose name and in which group a verified user acts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from skybus.auth.permissions import ROOT
from skybus.auth.settings import ANY, AuthSettings
from skybus.bus.errors import DeniedError, InvalidError


@dataclass(frozen=True)
class Actor:
    """Somebody whose items and rights are meant."""

    user: str
    group: str


@dataclass(frozen=True)
class Users:
    """The groups of users, and the delegates who act for others.

    A name is taken from the request only if a delegate has sent it; for everybody else it follows from the connection.
    """

    known_groups: Callable[[], Collection[str]]
    """Those of the permissions that hold now."""
    default_group: str
    groups: Mapping[str, str] = field(default_factory=dict)
    delegates: Mapping[str, str | list[str]] = field(default_factory=dict)

    def actor(self, requester: str, claimed_user: str | None, claimed_group: str | None) -> Actor:
        """Return who acts when a verified user asks for something to be done.

        Raises:
            InvalidError: A delegate has not said for whom it acts, or there is no such group.
            DeniedError: The delegate may not claim this group, or nobody has verified the user.
        """
        if requester not in self.delegates:
            return Actor(requester, self._own_group(requester))
        group = self._claimed_group(requester, claimed_group)
        if not claimed_user:
            raise InvalidError("Incorrect request format: user name is not specified")
        return Actor(claimed_user, group)

    def name(self, requester: str, claimed_user: str) -> str:
        """Return in whose name a verified user does something for which no group is needed."""
        return claimed_user if requester in self.delegates else requester

    def via(self, requester: str) -> str | None:
        """Return the delegate that claims a user whom nobody has verified, if the requester is one."""
        return requester if requester in self.delegates else None

    def group_to_read(self, requester: str, asked: str | None) -> str:
        """Return the group whose lists a verified user wants to see.

        Raises:
            InvalidError: A delegate has not named the group, or there is no such group.
            DeniedError: The user may not see the lists of this group.
        """
        if requester in self.delegates:
            return self._claimed_group(requester, asked)
        own = self._own_group(requester)
        group = self._known(asked or own)
        if group != own and own != ROOT:
            raise DeniedError(f"User '{requester}' of group '{own}' may not see what user group '{group}' may use")
        return group

    def require_root(self, requester: str, deed: str = "change permissions") -> None:
        """See that a verified user may do what concerns everybody, such as change what groups may do.

        Raises:
            DeniedError: The user is not in the group `root`, nor a delegate that may claim it.
        """
        if requester in self.delegates:
            is_root = self.delegates[requester] == ANY or ROOT in self.delegates[requester]
        else:
            is_root = self._own_group(requester) == ROOT
        if not is_root:
            raise DeniedError(f"'{requester}' may not {deed}: only user group '{ROOT}' may")

    def _own_group(self, user: str) -> str:
        if not user:
            raise DeniedError("nobody has verified who asks")
        return self._known(self.groups.get(user, self.default_group))

    def _claimed_group(self, delegate: str, group: str | None) -> str:
        if not group:
            raise InvalidError("Incorrect request format: user group is not specified")
        claimable = self.delegates[delegate]
        if claimable != ANY and self._known(group) not in claimable:
            listed = ", ".join(claimable) or "none"
            raise DeniedError(f"'{delegate}' may not act for user group '{group}' (groups it may act for: {listed})")
        return self._known(group)

    def _known(self, group: str) -> str:
        if group not in self.known_groups():
            raise InvalidError(f"Unknown user group: '{group}'")
        return group


def configured_users(settings: AuthSettings, known_groups: Callable[[], Collection[str]]) -> Users:
    """Take users and delegates from the settings."""
    return Users(known_groups, settings.default_group, settings.user_groups, settings.delegates)
