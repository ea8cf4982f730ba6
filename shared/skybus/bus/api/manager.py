"""Endpoints of the manager itself: its configuration, its end."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message, Nothing, Request


class ManagerStop(Request):
    """Stop the stack in order."""

    option: Literal["safe_on", "safe_off"] = "safe_on"
    """`safe_on`: only when idle; `safe_off`: whatever runs is ended."""


class Config(Message):
    """What clients may want to know of how the manager was set up."""

    config: dict[str, Any]
    """`ip_connect_info`: how to connect to the IPython kernel of the environment; empty if there is none."""


class ManagerKill(Request):
    """End the queue service as a crash does."""

    hang: float = Field(default=0.0, ge=0, le=60)
    """Seconds for which it answers nobody before."""


class ManagerTest(Request):
    """Try out a part of the manager."""

    test_name: str | None = None


CONFIG_GET = Endpoint("config.get", Empty, Config)
MANAGER_STOP = Endpoint("manager.stop", ManagerStop, Nothing, changes=True)
MANAGER_KILL = Endpoint("manager.kill", ManagerKill, Nothing, changes=True)
"""Ends the queue service as SIGKILL does: no reply comes, the stack starts it again, and a plan that runs goes on."""
MANAGER_TEST = Endpoint("manager.test", ManagerTest, Nothing, changes=True)
