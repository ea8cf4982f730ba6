"""What plans and devices there are, what each group may use of them, and the uids of these lists."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import orjson

from skybus.auth.check import Descriptions, ItemChecker
from skybus.auth.hints import hint_for
from skybus.auth.permissions import AllowedItems, UserGroupPermissions, allowed_by_group, is_function_allowed
from skybus.auth.plan_schemas import PlanSchemaWriter, names_by_kind
from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import ItemProblem
from skybus.bus.api.items import Item
from skybus.bus.bodies import LARGEST_CATALOGUE
from skybus.bus.errors import InvalidError, NotFoundError, SkybusError
from skybus.bus.json_values import read_json
from skybus.bus.packing import unpack_at_most


@dataclass(frozen=True)
class PackedCatalogue:
    """Lists as they travel and are kept."""

    catalog_uid: str
    """What the environment calls this state, or `file:` with the digest of their file; empty: there are no lists."""
    packed: bytes
    """zlib-compressed JSON `{"plans": {...}, "devices": {...}, "skipped": {...}}`, the last one optional."""


@dataclass(frozen=True)
class Changes:
    """How often lists were to count as new whatever is in them; part of their uids."""

    existing: int = 0
    allowed: int = 0


FIRST = Changes()
LONGEST_REASON = 500
"""Characters of why a plan is not listed."""
_UNREADABLE = (InvalidError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True)
class GroupView:
    """What one group may use."""

    allowed: AllowedItems
    checker: ItemChecker

    def schemas(self, names: Iterable[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON Schemas of these plans, or of all, and the definitions that they refer to.

        Raises:
            NotFoundError: There is no such plan that the group may run.
        """
        writer = PlanSchemaWriter(self.allowed.plans, self._names)
        schemas = {name: self._schema(writer, name) for name in (self.allowed.plans if names is None else names)}
        return schemas, writer.definitions

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return names_by_kind(self.allowed.plans, self.allowed.devices)

    def _schema(self, writer: PlanSchemaWriter, name: str) -> dict[str, Any]:
        if name not in self.allowed.plans:
            raise NotFoundError(
                f"Plan '{name}' is not in the list of allowed plans.{hint_for(name, self.allowed.plans)}"
            )
        return writer.schema(name)

    def problem(self, item: Item, *, is_queued_only: bool = False) -> ItemProblem | None:
        """Return why the group may not run this item, or (`is_queued_only`) why it can never be run."""
        try:
            self.checker.check(item, is_queued_only=is_queued_only)
        except SkybusError as error:
            return ItemProblem(code=error.code, msg=error.message)
        return None


@dataclass(frozen=True)
class Catalogue:
    """All lists of plans and devices that belong together, and the permissions behind them."""

    permissions: UserGroupPermissions
    plans: Descriptions
    devices: Descriptions
    groups: Mapping[str, GroupView]
    uids: CatalogChanged
    changes: Changes
    is_known: bool
    """Whether anybody has ever said what there is."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """What looks like a plan and is none, with the reason."""


def unpack_catalogue(
    permissions: UserGroupPermissions, catalogue: PackedCatalogue, changes: Changes = FIRST
) -> Catalogue:
    """Read lists and work out what each group may use; 0.4 s for 13 000 devices.

    Raises:
        SkybusError: They cannot be read.
    """
    if not catalogue.catalog_uid:
        return build_catalogue(permissions, {}, {}, changes, is_known=False)
    try:
        body = read_json(unpack_at_most(catalogue.packed, LARGEST_CATALOGUE))
        skipped = {str(name): str(why)[:LONGEST_REASON] for name, why in dict(body.get("skipped", {})).items()}
        return build_catalogue(permissions, dict(body["plans"]), dict(body["devices"]), changes, skipped=skipped)
    except _UNREADABLE as error:  # user code runs where it comes from
        raise SkybusError(f"the lists of plans and devices cannot be read: {error!r}") from error


def build_catalogue(
    permissions: UserGroupPermissions,
    plans: Descriptions,
    devices: Descriptions,
    changes: Changes = FIRST,
    *,
    is_known: bool = True,
    skipped: Mapping[str, str] | None = None,
) -> Catalogue:
    """Work out what each group may use."""
    allowed = allowed_by_group(permissions, plans, devices)
    groups = {
        group: GroupView(
            lists,
            ItemChecker(
                group,
                lists.plans,
                lists.devices,
                plans,
                devices,
                is_catalogue_known=is_known,
                allows_function=partial(is_function_allowed, permissions, group),
            ),
        )
        for group, lists in allowed.items()
    }
    uids = CatalogChanged(
        plans_existing_uid=content_uid(f"existing plans {changes.existing}", plans),
        devices_existing_uid=content_uid(f"existing devices {changes.existing}", devices),
        plans_allowed_uid=content_uid(
            f"allowed plans {changes.allowed}", {group: lists.plans for group, lists in allowed.items()}
        ),
        devices_allowed_uid=content_uid(
            f"allowed devices {changes.allowed}", {group: lists.devices for group, lists in allowed.items()}
        ),
    )
    return Catalogue(permissions, plans, devices, groups, uids, changes, is_known, skipped or {})


def renewed(catalogue: Catalogue, permissions: UserGroupPermissions) -> Catalogue:
    """Work out what each group may use under these permissions; the lists of what is allowed count as new."""
    changes = replace(catalogue.changes, allowed=catalogue.changes.allowed + 1)
    lists = catalogue.plans, catalogue.devices
    return build_catalogue(permissions, *lists, changes, is_known=catalogue.is_known, skipped=catalogue.skipped)


def content_uid(kind: str, content: Mapping[str, Any]) -> str:
    """Make the uid out of the content, so that it outlives restarts; the same content of another kind has another."""
    digest = hashlib.sha256(kind.encode() + orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))
