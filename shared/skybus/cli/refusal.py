"""How a command ends that cannot do what it was asked for."""

from __future__ import annotations

from typing import NoReturn

import typer


def refuse(command: str, why: object) -> NoReturn:
    """End the command with a red line and exit code 1."""
    typer.secho(f"skybus {command}: {why}", fg="red", err=True)
    raise typer.Exit(1)
