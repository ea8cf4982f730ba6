"""The credentials of an embedded stack: made once, kept in files of mode 0600 below the data directory."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys
import orjson

from skybus.bus.identity import user_token
from skybus.bus.settings import CREDENTIALS_DIR, Credentials

SERVICES = ("queue", "worker", "auth", "console")
ENVIRONMENT = "environment"
BRIDGE = "bridge"
OPERATOR = "operator"

_ACCOUNTS = dict.fromkeys(SERVICES, "SKY") | {ENVIRONMENT: "PLANS", BRIDGE: "PEOPLE", OPERATOR: "PEOPLE"}


@dataclass(frozen=True)
class Identity:
    """A user of the server: an nkey for the services, a random password for people (whose name the server stamps)."""

    account: str
    credentials: Credentials
    public_key: str | None

    @property
    def token(self) -> str:
        """The name as it stands in subjects."""
        return user_token(self.credentials.user)

    @property
    def config(self) -> dict[str, Any]:
        """Its entry in the server's configuration, without permissions."""
        if self.public_key:
            return {"nkey": self.public_key}
        return {"user": self.credentials.user, "password": self.credentials.password}


def ensure_credentials(data_dir: Path) -> dict[str, Identity]:
    """Read the credentials of all users of the stack, and make those that are missing."""
    folder = data_dir / CREDENTIALS_DIR
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {name: _ensure(folder / f"{name}.json", name, account) for name, account in _ACCOUNTS.items()}


def _ensure(path: Path, name: str, account: str) -> Identity:
    if not path.exists():
        _write_private(path, _new(name, account))
    credentials = Credentials.model_validate(orjson.loads(path.read_bytes()))
    return Identity(account, credentials, _public_key(credentials))


def _new(name: str, account: str) -> Credentials:
    if account == "PEOPLE":
        return Credentials(user=name, password=secrets.token_urlsafe(32))
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return Credentials(user=name, nkey_seed=seed.decode())


def _public_key(credentials: Credentials) -> str | None:
    if not credentials.nkey_seed:
        return None
    public_key: Any = nkeys.from_seed(
        bytearray(credentials.nkey_seed.encode())
    ).public_key  # bytes, annotated otherwise
    return public_key.decode()


def _write_private(path: Path, credentials: Credentials) -> None:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(orjson.dumps(credentials.model_dump(exclude_none=True)))
    new.replace(path)
