"""The NATS server's configuration: four accounts and what crosses between them (design, section 7).

SKY holds the services, PEOPLE people and agents, PLANS the environment, which runs code that nobody has checked. A
command crosses from PEOPLE to SKY as a service import with `share: true`: the server itself then says who sent it.

A requester may name any reply subject of its account, and NATS does not check it. So people read by direct get only
what they need: documents, parts of large replies, and three values. Receivers drop what comes by such a reply
(`bus/provenance.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from skybus.bus import room
from skybus.bus.api.progress import KEPT_PROGRESS
from skybus.bus.packing import PEOPLE_PAYLOAD
from skybus.bus.subjects import Subjects
from skybus.stack.credentials import Identity

MAX_PAYLOAD = 4 * 1024 * 1024
"""Bytes. What is larger goes through the object store, or in parts."""
PEOPLE_CONNECTIONS, PLANS_CONNECTIONS = 2000, 64
"""So many connections the accounts of people and of plan code have at the same time; the server refuses more."""
SUBSCRIPTIONS = 1000
"""Of one connection of people or of plan code; the server ends a connection that makes more."""

_COMMANDS, _EVENTS = "sky.*.cmd.*.>", "sky.*.evt.>"
_FROM_PLANS = ("sky.*.console.worker.>", "sky.*.doc.>", "sky.*.int.life.>", "$KV.*.progress")
"""What the environment may publish into SKY; the answer is JetStream's acknowledgement."""
_KEPT = ("status", "environment", KEPT_PROGRESS)
"""Topics whose last value people may read."""
_ENVIRONMENT, _STATE, _PROGRESS = "sky.*.int.environment.>", "sky.*.int.state", "sky.*.evt.progress.>"

Entry = dict[str, Any]


def server_config(
    listen: str,
    store: Path,
    subjects: Subjects,
    identities: dict[str, Identity],
    other: Entry | None = None,
    max_store: int = room.JETSTREAM,
) -> str:
    """Write the configuration of a server, in JSON, which the server's own language comprises.

    Args:
        listen: `host:port`.
        store: JetStream's folder.
        subjects: those of the instrument.
        identities: who may connect, by name; `Identity.account` says where each lives.
        other: entries in the place of those of an embedded server, or beside them.
        max_store: bytes that JetStream may use on the disk.
    """
    reads, written = _reads(subjects), _written(subjects)
    accounts = {"SYS": Entry(), "SKY": _sky(reads, written), "PEOPLE": _people(reads), "PLANS": _plans(written)}
    for name, account in accounts.items():
        users = [identity for identity in identities.values() if identity.account == name]
        account["users"] = [_user(identity, reads, written) for identity in users]
    config = {
        "server_name": f"skybus_{subjects.inst}",
        "listen": listen,
        "max_payload": MAX_PAYLOAD,
        "max_pending": 512 << 20,
        "write_deadline": "10s",
        "jetstream": {"store_dir": str(store), "sync_interval": "1s", "max_file_store": max_store},
        "system_account": "SYS",
        "accounts": accounts,
        **(other or {}),
    }
    return orjson.dumps(config, option=orjson.OPT_INDENT_2).decode()


def _reads(subjects: Subjects) -> list[str]:
    """What people read of SKY by direct get. They ask the console service for console output."""
    streams = (subjects.docs_stream, f"OBJ_{subjects.blob_bucket}")
    values = [f"KV_{subjects.state_bucket}.{subjects.kept(topic)}" for topic in _KEPT]
    return [f"$JS.API.DIRECT.GET.{source}" for source in (*streams, *values)]


def _written(subjects: Subjects) -> list[str]:
    """What reads the streams into which the environment writes, to see what has arrived."""
    return [f"$JS.API.DIRECT.GET.{stream}" for stream in (subjects.console_stream, subjects.docs_stream)]


def _sky(reads: list[str], written: list[str]) -> Entry:
    return {
        "jetstream": "enabled",
        "exports": [
            *_exported("service", (_COMMANDS, *reads), to="PEOPLE"),
            *_exported("stream", (_EVENTS,), to="PEOPLE"),
            *_exported("service", (*_FROM_PLANS, *written), to="PLANS"),
        ],
        "imports": [
            *_imported("service", (_ENVIRONMENT,), of="PLANS"),
            *_imported("stream", (_STATE,), of="PLANS"),
        ],
    }


def _people(reads: list[str]) -> Entry:
    return {
        "limits": {**_limits(PEOPLE_CONNECTIONS), "max_payload": PEOPLE_PAYLOAD},
        "imports": [
            *_imported("service", (_COMMANDS,), of="SKY", share=True),
            *_imported("service", reads, of="SKY"),
            *_imported("stream", (_EVENTS,), of="SKY"),
            *_imported("stream", (_PROGRESS,), of="PLANS"),
        ],
    }


def _plans(written: list[str]) -> Entry:
    return {
        "limits": _limits(PLANS_CONNECTIONS),
        "exports": [
            *_exported("service", (_ENVIRONMENT,), to="SKY"),
            *_exported("stream", (_STATE,), to="SKY"),
            *_exported("stream", (_PROGRESS,), to="PEOPLE"),
        ],
        "imports": _imported("service", (*_FROM_PLANS, *written), of="SKY"),
    }


def _limits(connections: int) -> Entry:
    return {"max_connections": connections, "max_subscriptions": SUBSCRIPTIONS}


def _exported(kind: str, subjects: Iterable[str], *, to: str) -> list[Entry]:
    return [{kind: subject, "accounts": [to]} for subject in subjects]


def _imported(kind: str, subjects: Iterable[str], *, of: str, **options: bool) -> list[Entry]:
    return [{kind: {"account": of, "subject": subject}, **options} for subject in subjects]


def _user(identity: Identity, reads: list[str], written: list[str]) -> Entry:
    allowed = _permissions(identity.account, identity.token, reads, written)
    return {**identity.config, **({"permissions": allowed} if allowed else {})}


def _permissions(account: str, token: str, reads: list[str], written: list[str]) -> Entry:
    """What a user may publish and receive; nothing stands for everything."""
    inbox = f"_INBOX.{token}.>"
    if account == "PEOPLE":
        return {"publish": [f"sky.*.cmd.{token}.>", *reads], "subscribe": [inbox, _EVENTS]}
    if account == "PLANS":
        receive = [inbox, _ENVIRONMENT, "$SRV.>"]
        return {"publish": [*_FROM_PLANS, *written, _STATE, _PROGRESS], "subscribe": receive, "allow_responses": True}
    return {}
