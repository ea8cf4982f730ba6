"""Who reaches the 0MQ sockets, in a sentence for those who start them."""

from __future__ import annotations

from ipaddress import ip_address

from skybus.bridge.limits import Limits

_TCP = "tcp://"
_RUN_CODE = frozenset({"script_upload", "function_execute", "permissions_set"})
"""Methods with which a client runs any code, at once or after a step."""


def who_reaches(address: str, limits: Limits, *, has_key: bool) -> str | None:
    """Say who may send requests to a TCP socket, what they may do, and how to close it; nothing of other sockets."""
    if not address.startswith(_TCP):
        return None
    who = "everybody who has the public key and reaches" if has_key else _who(address)
    runs_code = bool(limits.methods & _RUN_CODE)
    may = "run any code in the environment" if runs_code else f"use {len(limits.methods)} of its methods"
    ways = ["an ipc:// address", *([] if has_key else ["a key of `skybus zmq-keys`"]), "SKYBUS_ZMQ_METHODS"]
    ways += [] if limits.peers else ["SKYBUS_ZMQ_PEERS"]
    return f"0MQ is open: {who} {address}{_from(limits)} may {may}; {', '.join(ways)} close it (docs/security.md)"


def who_reads(address: str, limits: Limits) -> str | None:
    """Say who may read console output and status at a TCP socket; nothing of other sockets."""
    if not address.startswith(_TCP):
        return None
    return f"{_who(address)} {address}{_from(limits)} may read what plans print"


def _who(address: str) -> str:
    host = address.removeprefix(_TCP).rpartition(":")[0].strip("[]")
    return "every account of this machine that connects to" if _is_local(host) else "everybody who reaches"


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # it is a name, or `*`
        return host == "localhost"


def _from(limits: Limits) -> str:
    return f" from {', '.join(map(str, limits.peers))}" if limits.peers else ""
