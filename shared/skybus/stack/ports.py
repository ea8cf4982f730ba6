"""The port of NATS, if nobody has asked for one: which the stack had last."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_FILE = "ports.json"
_LARGEST = 65535

Port = Annotated[int, Field(gt=0, le=_LARGEST)]


class LastPorts(BaseModel):
    """What is tried first: an environment or a client that outlived the last stack looks for its server there."""

    model_config = ConfigDict(frozen=True)

    nats: Port = 4222

    @classmethod
    def read(cls, data_dir: Path) -> LastPorts:
        """Read the port of the last stack on a data directory; without one, or a file that can be read, the usual."""
        with suppress(OSError, ValueError):
            return cls.model_validate_json((data_dir / _FILE).read_bytes())
        return cls()

    def write(self, data_dir: Path) -> None:
        """Keep it for the next stack."""
        (data_dir / _FILE).write_text(self.model_dump_json())


def port_of(address: str) -> int:
    """The port in the address of a TCP socket."""
    return int(address.rpartition(":")[2])
