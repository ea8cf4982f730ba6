"""The ports of a stack that nobody has asked for: where to look for free ones, and which the stack had last."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from skybus.stack.servers import PORTS_TRIED

_FILE = "ports.json"
_LARGEST = 65535

Port = Annotated[int, Field(gt=0, le=_LARGEST)]


class LastPorts(BaseModel):
    """What is tried first: an environment or a client that outlived the last stack looks for its servers there."""

    model_config = ConfigDict(frozen=True)

    nats: Port = 4222
    control: Port = 60615
    info: Port = 60625

    @classmethod
    def read(cls, data_dir: Path) -> LastPorts:
        """Read the ports of the last stack on a data directory; without one, or a file that can be read, the usual."""
        with suppress(OSError, ValueError):
            return cls.model_validate_json((data_dir / _FILE).read_bytes())
        return cls()

    def write(self, data_dir: Path) -> None:
        """Keep them for the next stack."""
        (data_dir / _FILE).write_text(self.model_dump_json())


def ports_from(first: int, besides: set[int]) -> str:
    """The ports of which a 0MQ socket takes the first free one, `FIRST-LAST`.

    Args:
        first: what is tried first.
        besides: ports that others have asked for; none of them is among the result.
    """
    while first in besides:
        first += 1
    last = min(first + PORTS_TRIED - 1, _LARGEST, *(port - 1 for port in besides if port > first))
    return f"{first}-{last}"


def port_of(address: str) -> int:
    """The port in the address of a TCP socket."""
    return int(address.rpartition(":")[2])
