"""What 0MQ clients may do: which methods, for which user groups, from which hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from skybus.bridge.method import Method
from skybus.bridge.methods import METHODS
from skybus.bus.api.permissions import PERMISSIONS_RELOAD, PERMISSIONS_SET
from skybus.bus.errors import DeniedError
from skybus.bus.messages import brief

Network = IPv4Network | IPv6Network

READ = frozenset(name for name, method in METHODS.items() if not method.endpoint.changes)
QUEUE = READ | {name for name in METHODS if name.startswith(("queue_", "history_", "re_"))}
SETS = {"all": frozenset(METHODS), "queue": QUEUE, "read": READ}
"""Methods by the name of a set, from those that run any code to those that change nothing."""
EVERY_GROUP = "*"
_ROOT = "root"
_FOR_ROOT = (PERMISSIONS_SET, PERMISSIONS_RELOAD)
_GROUP = "user_group"
_SHOWN = 128


@dataclass(frozen=True)
class Limits:
    """What clients may do."""

    methods: frozenset[str] = SETS["all"]
    groups: frozenset[str] | None = None
    """Without any, every group."""
    peers: tuple[Network, ...] = ()
    """Without any, every host, and those that come through an `ipc://` socket."""

    def require_peer(self, address: str) -> None:
        """Check where a request comes from.

        Raises:
            DeniedError: from nowhere whence requests may come.
        """
        if self.peers and address and not any(ip_address(address) in network for network in self.peers):
            raise DeniedError(f"0MQ clients at {address} may not send requests here: SKYBUS_ZMQ_PEERS leaves them out")

    def require(self, method: Method, params: Mapping[str, Any]) -> None:
        """Check what is asked for.

        Raises:
            DeniedError: it is not allowed.
        """
        if method.name not in self.methods:
            raise DeniedError(f"0MQ clients may not use '{method.name}' here: SKYBUS_ZMQ_METHODS leaves it out")
        group = _ROOT if method.endpoint in _FOR_ROOT else params.get(_GROUP) if _GROUP in method.params else None
        if self.groups is not None and group is not None and group not in self.groups:
            raise DeniedError(
                f"0MQ clients may not act for user group {brief(group, _SHOWN)} here: SKYBUS_ZMQ_USER_GROUPS "
                "leaves it out"
            )


NO_LIMITS = Limits()


def method_names(value: Any) -> Any:
    """The methods that a setting names, one by one or as sets."""
    if not isinstance(value, str):
        return value
    names = _words(value)
    if unknown := [name for name in names if name not in SETS and name not in METHODS]:
        raise ValueError(f"no method and no set of methods ({', '.join(SETS)}) is named {', '.join(unknown)}")
    return frozenset().union(*(SETS.get(name, {name}) for name in names))


def group_names(value: Any) -> Any:
    """The groups that a setting names, or nothing for every group."""
    if not isinstance(value, str):
        return value
    return None if value.strip() == EVERY_GROUP else frozenset(_words(value))


def networks(value: Any) -> Any:
    """The networks that a setting names; a host is a network of one."""
    return tuple(ip_network(word) for word in _words(value)) if isinstance(value, str) else value


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
