"""How a command ends that cannot do what it was asked for."""

from __future__ import annotations

from typing import NoReturn

import typer

from skybus.cli.output import complain


def refuse(command: str, why: object) -> NoReturn:
    """End the command with a red line and exit code 1."""
    complain(f"skybus {command}: {why}")
    raise typer.Exit(1)
