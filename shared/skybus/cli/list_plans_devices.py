"""`skybus list-plans-devices`: write the list of plans and devices that startup code makes."""

from __future__ import annotations

import os
import sys

import typer

_TOOL = "skybus.worker.list_plans_devices"
CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""For click: all words are the worker's."""


def list_plans_devices(context: typer.Context) -> None:
    """Write the list of plans and devices of startup code into a file; --help lists the options."""
    os.execv(sys.executable, [sys.executable, "-m", _TOOL, *context.args])  # noqa: S606
