"""How the IPython kernel of an environment is made and where it listens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from skybus.bus.messages import Message

Port = Annotated[int, Field(gt=0, lt=65536)]

ADDRESS = r"^(localhost|auto|([0-9]{1,3}\.){3}[0-9]{1,3})$"
"""`localhost`, `auto` for the address that others reach this machine by, or an IPv4 address."""


class KernelPorts(Message):
    """Ports that are fixed; the others are found anew with each kernel."""

    shell_port: Port | None = None
    iopub_port: Port | None = None
    stdin_port: Port | None = None
    hb_port: Port | None = None
    control_port: Port | None = None


class KernelOptions(Message):
    """Everything that can be said about the kernel."""

    ip: str = "localhost"
    ports: KernelPorts = KernelPorts()
    connection_file: str | None = None
    """Kept when the kernel ends, so that the next one listens at the same ports with the same key."""
    connection_dir: Path | None = None
    profile: str | None = None
    """The IPython profile; by default `default`."""
    ipython_dir: Path | None = None
    """Where profiles are; by default where IPython keeps them."""
    matplotlib: str | None = None
    """The backend, as IPython names it; by default `agg`."""
