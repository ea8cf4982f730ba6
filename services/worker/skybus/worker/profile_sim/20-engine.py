# ruff: noqa: N999
"""The RunEngine that executes the plans."""

from bluesky import RunEngine

RE = RunEngine({})
