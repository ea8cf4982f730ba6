"""Settings that every process has, and where it finds the bus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import orjson
from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from skybus.bus import room
from skybus.bus.errors import UnavailableError
from skybus.bus.in_flight import EACH_BYTES, EACH_REQUESTS, Share
from skybus.bus.packing import MAX_REQUEST
from skybus.bus.subjects import Subjects

LISTEN_FILE = "listen.json"
CREDENTIALS_DIR = "credentials"
DEFAULT_INSTRUMENT = "sim"
"""Of a stack that nobody has given another name."""

KEYS = {"SKYBUS_ZMQ_PRIVATE_KEY": "bridge", "SKYBUS_EMERGENCY_LOCK_KEY": "queue", "SKYBUS_REDIS_URL": "queue"}
"""Secrets that may be exported, and the service that needs each."""


def default_data_dir() -> Path:
    """`SKYBUS_DATA_DIR`, or a folder of the user."""
    return Path(os.environ.get("SKYBUS_DATA_DIR") or user_data_path("skybus"))


class Listen(BaseModel):
    """Where the stack of a data directory listens; `skybus up` writes it, everybody reads it."""

    model_config = ConfigDict(frozen=True)

    instrument: str
    nats: str
    redis: str = ""
    zmq_control: str = ""
    zmq_info: str = ""
    pid: int = 0


class Credentials(BaseModel):
    """Who a process is on the bus."""

    model_config = ConfigDict(frozen=True)

    user: str
    password: str | None = None
    nkey_seed: str | None = None


class Access(BaseModel):
    """Where the bus is and who we are there."""

    model_config = ConfigDict(frozen=True)

    url: str
    """Of a server, or of all servers of a cluster with commas between."""
    credentials: Credentials

    @property
    def servers(self) -> list[str]:
        """The address of each server."""
        return [url.strip() for url in self.url.split(",") if url.strip()]


class BusSettings(BaseSettings):
    """What a service or a client must know to reach the bus."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="SKYBUS_", extra="ignore")

    data_dir: Path = Field(default_factory=default_data_dir)
    """Where everything lives."""
    instrument: str | None = None
    """One queue, one worker; by default the one that `skybus up` has written down."""
    nats_url: str | None = None
    """By default the one that `skybus up` has written down. Of a cluster all servers, with commas between."""
    replicas: int = Field(default=1, ge=1, le=5)
    """Servers of a cluster that each keep everything: 3 of 3, so that one may be lost."""
    max_request: int = Field(default=MAX_REQUEST, ge=4 << 20, le=256 << 20)
    """Bytes of a request, unpacked; services refuse a larger one."""
    repeat_window: int = Field(default=900, ge=1)
    """Seconds for which a request may be repeated under its id: so long its answer is kept."""
    life_max_bytes: int = Field(default=room.LIFE, ge=16 << 20)
    """Stored reports of plans, tasks and environments; the queue service makes room before they are as many."""
    replies_max_bytes: int = Field(default=room.REPLIES, ge=1 << 20)
    """Replies that are larger than a message, each kept for two minutes."""
    user_requests: int = Field(default=EACH_REQUESTS, ge=16)
    """Requests of one user that a process of a service has in hand at the same time; more are refused."""
    user_bytes: int = Field(default=EACH_BYTES, ge=1 << 20)
    """Bytes of these requests together."""
    credentials_file: Path | None = None
    """By default `credentials/{name}.json` in the data directory."""
    dumpable: bool = False
    """Whether debuggers and profilers of the same account may look into services, and services that crash leave core
    dumps. Root may look in any case."""
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"

    @property
    def share(self) -> Share:
        """The most requests and bytes of one user that a process of a service works on."""
        return Share(self.user_requests, self.user_bytes)

    def listen(self) -> Listen:
        """Read where the stack listens.

        Raises:
            UnavailableError: no stack has written it.
        """
        path = self.data_dir / LISTEN_FILE
        try:
            return Listen.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UnavailableError(f"nothing runs on {self.data_dir}: start it with `skybus up` ({error})") from None

    def subjects(self) -> Subjects:
        """The subjects of the instrument."""
        return Subjects(self.instrument or self.listen().instrument)

    def access(self, name: str) -> Access:
        """Read where the server is and the credentials of `name`; done again for each connection."""
        url = self.nats_url or self.listen().nats
        path = self.credentials_file or self.data_dir / CREDENTIALS_DIR / f"{name}.json"
        try:
            credentials = Credentials.model_validate(orjson.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise UnavailableError(f"cannot read the credentials of {name!r}: {error}") from None
        return Access(url=url, credentials=credentials)
