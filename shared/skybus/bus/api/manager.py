"""Endpoints that end the stack itself."""

from __future__ import annotations

from typing import Literal

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Nothing, Request


class ManagerStop(Request):
    """Stop the stack in order."""

    option: Literal["safe_on", "safe_off"] = "safe_on"
    """`safe_on`: only when idle; `safe_off`: whatever runs is ended."""


MANAGER_STOP = Endpoint("manager.stop", ManagerStop, Nothing, changes=True)
