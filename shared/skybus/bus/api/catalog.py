"""Endpoints of the catalogue: which plans and devices there are, and which of them a group may use."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message, Request


class GroupQuery(Request):
    """What a group may use; by default the caller's own."""

    user_group: str | None = Field(default=None, min_length=1, max_length=128)


class PlanList(Message):
    """Plans by name, in the reference's description format."""

    plans: dict[str, Any]
    uid: str


class DeviceList(Message):
    """Devices by name, in the reference's description format."""

    devices: dict[str, Any]
    uid: str


PLANS_ALLOWED = Endpoint("plans.allowed", GroupQuery, PlanList)
DEVICES_ALLOWED = Endpoint("devices.allowed", GroupQuery, DeviceList)
PLANS_EXISTING = Endpoint("plans.existing", Empty, PlanList)
DEVICES_EXISTING = Endpoint("devices.existing", Empty, DeviceList)
