"""Endpoints of the worker's environment: open, close, destroy."""

from __future__ import annotations

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Nothing, Request


class EnvironmentControl(Request):
    """Open the environment, close it when it is idle, or kill it whatever it does."""

    lock_key: str | None = None


ENVIRONMENT_OPEN = Endpoint("environment.open", EnvironmentControl, Nothing, changes=True)
ENVIRONMENT_CLOSE = Endpoint("environment.close", EnvironmentControl, Nothing, changes=True)
ENVIRONMENT_DESTROY = Endpoint("environment.destroy", EnvironmentControl, Nothing, changes=True)
