"""Where an IPython kernel listens: chosen ports, and those of the kernel before it when a connection file was kept."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import structlog

from skybus.worker.kernel_options import KernelOptions

log = structlog.get_logger()

SOMEWHERE_ELSE = ("192.0.2.1", 9)
"""An address that no machine has (RFC 5737): the way to it says by which of our addresses others reach us."""


def listen_as_told(app: Any, options: KernelOptions) -> None:
    """Give an `IPKernelApp` its address and ports; those that nobody has chosen it finds by itself.

    Raises:
        OSError: this machine has no network address for others.
    """
    app.ip = find_address(options.ip)
    for name, port in _chosen(options).items():
        setattr(app, name, port)
    if options.connection_dir:
        app.connection_dir = str(options.connection_dir)
    if options.connection_file:
        app.connection_file = options.connection_file
        _drop_unless_it_fits(Path(app.abs_connection_file), {"ip": app.ip, **_chosen(options)})


def connection_info(app: Any) -> dict[str, Any]:
    """What a client must know to connect, as JSON has it."""
    info = app.get_connection_info()
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in info.items()}


def find_address(ip: str) -> str:
    """The IPv4 address that `localhost`, `auto` or an address stands for."""
    if ip == "localhost":
        return "127.0.0.1"
    if ip != "auto":
        return ip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(SOMEWHERE_ELSE)  # sends nothing
        return str(sock.getsockname()[0])


def _chosen(options: KernelOptions) -> dict[str, int]:
    return options.ports.model_dump(exclude_none=True)


def _drop_unless_it_fits(file: Path, wanted: dict[str, Any]) -> None:
    """Let the kernel write a new connection file if the old one says something else than is wanted now."""
    try:
        info = json.loads(file.read_bytes())
        different = [name for name, value in wanted.items() if info.get(name) != value]
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError) as error:
        different = [str(error)]
    if different:
        log.info("the connection file is not up to date; a new one is written", file=str(file), differs=different)
        file.unlink()
