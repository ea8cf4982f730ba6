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


class SkippedPlans(Message):
    """What looks like a plan and cannot be run by a group, by name with the reason; at most some hundred of them."""

    skipped: dict[str, str]
    uid: str
    """Of the list of allowed plans: another one says that this list may be another one, too."""


class PlanSchemasGet(GroupQuery):
    """Which plans are to be described as JSON Schema."""

    names: list[str] | None = Field(default=None, max_length=10_000)
    """By default all that the group may run."""


class PlanSchemas(Message):
    """A JSON Schema for the parameters of each plan: an object with a property for each parameter.

    Lists of names stand in `definitions` once for all plans. A property with `x-kind` is not given by its name:
    `POSITIONAL_ONLY`, or `VAR_POSITIONAL` for the list of `*args`.
    """

    schemas: dict[str, Any]
    definitions: dict[str, Any]
    """What `#/$defs/…` in a schema refers to."""
    uid: str
    """Of the lists of what is allowed: another one says that the schemas may be others."""

    def document(self, plan: str) -> dict[str, Any]:
        """Return the schema of one plan as a document of its own."""
        schema = self.schemas[plan]
        used = {name: self.definitions[name] for name in _references(schema)}
        return {"$schema": JSON_SCHEMA, **schema, **({"$defs": used} if used else {})}


def _references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"].removeprefix(DEFINITION)} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*map(_references, schema.values()))
    return set().union(*map(_references, schema)) if isinstance(schema, list) else set()


JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
DEFINITION = "#/$defs/"
"""How a reference to one of `definitions` begins."""

PLANS_ALLOWED = Endpoint("plans.allowed", GroupQuery, PlanList)
DEVICES_ALLOWED = Endpoint("devices.allowed", GroupQuery, DeviceList)
PLANS_SCHEMAS = Endpoint("plans.schemas", PlanSchemasGet, PlanSchemas)
PLANS_SKIPPED = Endpoint("plans.skipped", GroupQuery, SkippedPlans)
PLANS_EXISTING = Endpoint("plans.existing", Empty, PlanList)
DEVICES_EXISTING = Endpoint("devices.existing", Empty, DeviceList)
