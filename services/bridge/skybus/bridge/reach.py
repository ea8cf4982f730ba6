"""Who reaches the control socket, in a sentence for those who start it."""

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
    hosts = f" from {', '.join(map(str, limits.peers))}" if limits.peers else ""
    may = (
        "run any code in the environment" if limits.methods & _RUN_CODE else f"use {len(limits.methods)} of its methods"
    )
    ways = ["an ipc:// address", *([] if has_key else ["a key of `skybus zmq-keys`"]), "SKYBUS_ZMQ_METHODS"]
    ways += [] if limits.peers else ["SKYBUS_ZMQ_PEERS"]
    return f"0MQ is open: {who} {address}{hosts} may {may}; {', '.join(ways)} close it (docs/security.md)"


def _who(address: str) -> str:
    host = address.removeprefix(_TCP).rpartition(":")[0].strip("[]")
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = False
    return "every account of this machine that connects to" if is_local else "everybody who reaches"
