"""The NATS server of a data directory, and when it has bound its port."""

from __future__ import annotations

import asyncio

from skybus.bus import room
from skybus.bus.errors import UnavailableError
from skybus.bus.subjects import Subjects
from skybus.stack.accounts import server_config
from skybus.stack.child import Child, UntilReady
from skybus.stack.credentials import ensure_credentials
from skybus.stack.datadir import DataDir
from skybus.stack.private_file import write_private
from skybus.stack.servers import nats_binary

HOST = "127.0.0.1"
_TAKEN = "address already in use"
"""How nats-server words EADDRINUSE; it exits then."""


def nats_child(data_dir: DataDir, subjects: Subjects, port: int, max_store: int = room.JETSTREAM) -> Child:
    """The server as a process that can be started; started again it asks for the same port."""
    for left_over in data_dir.sockets.glob("*.ports"):
        left_over.unlink()
    config = data_dir.nats / "server.conf"
    identities = ensure_credentials(data_dir.path)
    announced = {"ports_file_dir": str(data_dir.sockets)}
    store = data_dir.nats / "jetstream"
    write_private(config, server_config(f"{HOST}:{port}", store, subjects, identities, announced, max_store))
    return Child(
        "nats",
        [nats_binary(), "-c", str(config)],
        data_dir.logs / "nats.log",
        _until_bound(data_dir),
        lock_fd=data_dir.lock_fd,
    )


def lost_its_port(error: UnavailableError) -> bool:
    """Tell whether a server did not start because another program had bound its port first."""
    return _TAKEN in error.message


def _until_bound(data_dir: DataDir) -> UntilReady:
    """Wait for the file that the server writes once it listens.

    Connecting to the port would not do: the server of another stack may have been quicker to bind it.
    """

    async def until_ready(process: asyncio.subprocess.Process) -> dict[str, str]:
        while not any(data_dir.sockets.glob(f"*_{process.pid}.ports")):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.005)
        return {}

    return until_ready
