"""Which process listens on a TCP port of this machine, as far as /proc shows it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENS = "0A"
_ADDRESS, _STATE, _INODE = 1, 3, 9
"""Columns of the tables."""


def port_holder(port: int) -> str:
    """Name the process that listens on a port, or say "another program"."""
    sockets = {f"socket:[{inode}]" for table in _TABLES for inode in _inodes(table, port)}
    for link in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with suppress(OSError):  # processes end meanwhile, and those of other users are not shown
            if str(link.readlink()) in sockets:
                process = link.parent.parent
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return "another program"


def _inodes(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [
        row[_INODE] for row in rows if row[_STATE] == _LISTENS and int(row[_ADDRESS].rpartition(":")[2], 16) == port
    ]
