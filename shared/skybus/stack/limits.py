"""How much memory and disk the servers of the stack may use; each a setting `SKYBUS_...`."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from skybus.bus import room
from skybus.bus.errors import InvalidError
from skybus.bus.messages import explain

_OF_DISK = 0.75
"""The part of what is free that JetStream may take at most, as its server does by itself."""


class StackLimits(BaseSettings):
    """Read when a server is started."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="SKYBUS_", extra="ignore")

    valkey_max_bytes: int = Field(default=room.VALKEY, ge=16 << 20)
    """Of memory; a full Valkey refuses what adds to the queue, and all else goes on."""
    jetstream_max_bytes: int = Field(default=room.JETSTREAM, ge=64 << 20)
    """On the disk, for all streams and buckets together."""

    @classmethod
    def read(cls) -> StackLimits:
        """Read the settings.

        Raises:
            InvalidError: one is not right.
        """
        try:
            return cls()
        except ValidationError as error:
            raise InvalidError(f"limits of the stack: {explain(error)}") from None

    def jetstream_on(self, folder: Path) -> int:
        """What JetStream may use on the disk of its folder: the setting, unless the disk has less."""
        used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return min(self.jetstream_max_bytes, int(_OF_DISK * (shutil.disk_usage(folder).free + used)))
