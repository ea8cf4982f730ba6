"""Answers of the auth service: the check of items, and the lists of plans and devices."""

from __future__ import annotations

import asyncio
from typing import Any

from skybus.auth.catalogue import Descriptions, GroupView
from skybus.auth.catalogue_keeper import CATALOGUE, CatalogueKeeper
from skybus.auth.users import Users
from skybus.bus.api.catalog import (
    DEVICES_ALLOWED,
    DEVICES_EXISTING,
    PLANS_ALLOWED,
    PLANS_EXISTING,
    PLANS_SCHEMAS,
    PLANS_SKIPPED,
    DeviceList,
    GroupQuery,
    PlanList,
    PlanSchemas,
    PlanSchemasGet,
    SkippedPlans,
)
from skybus.bus.api.events import CatalogChanged
from skybus.bus.api.internal import (
    CATALOG_REFRESH,
    CATALOG_UIDS,
    ITEM_MAY_RUN,
    ITEMS_CHECK,
    NAME_CHECK,
    ROOT_CHECK,
    ItemMayRun,
    ItemProblem,
    ItemsCheck,
    ItemsChecked,
    NameCheck,
    NameChecked,
    RootCheck,
)
from skybus.bus.errors import DeniedError
from skybus.bus.messages import Empty, Nothing
from skybus.bus.service import Handler, current_call
from skybus.bus.shared_replies import LONG, Shared, Sharing
from skybus.bus.slices import in_slices

MOST_SKIPPED = 500


class AuthHandlers:
    """The table of handlers."""

    def __init__(self, users: Users, keeper: CatalogueKeeper) -> None:
        self._users = users
        self._keeper = keeper
        self._plan_lists = Sharing[PlanList]()
        self._device_lists = Sharing[DeviceList]()

    def table(self) -> list[Handler[Any, Any]]:
        """Who answers what."""
        return [
            Handler(ITEMS_CHECK, self.check_items),
            Handler(NAME_CHECK, self.check_name),
            Handler(ROOT_CHECK, self.check_root),
            Handler(ITEM_MAY_RUN, self.check_item_to_run),
            Handler(CATALOG_UIDS, self.get_uids),
            Handler(CATALOG_REFRESH, self.refresh),
            Handler(PLANS_ALLOWED, self.get_allowed_plans),
            Handler(DEVICES_ALLOWED, self.get_allowed_devices),
            Handler(PLANS_SCHEMAS, self.get_plan_schemas),
            Handler(PLANS_SKIPPED, self.get_skipped_plans),
            Handler(PLANS_EXISTING, self.get_existing_plans),
            Handler(DEVICES_EXISTING, self.get_existing_devices),
        ]

    async def check_items(self, request: ItemsCheck) -> ItemsChecked:
        """Say in whose name items are kept, and what is wrong with each."""
        actor = self._users.actor(request.requester, request.claimed_user, request.claimed_group)
        view = self._keeper.catalogue.groups[actor.group]
        now = await in_slices(view.problem, request.items)
        problems = now
        if request.requester in self._users.delegates:
            problems = [
                problem and view.problem(item, is_queued_only=True)
                for problem, item in zip(now, request.items, strict=True)
            ]
        return ItemsChecked(
            user=actor.user,
            user_group=actor.group,
            problems=[problem and self._explain(problem) for problem in problems],
            may_run=[problem is None for problem in now],
            lists_uid=self._keeper.catalogue.uids.allowed_uid,
            via=self._users.via(request.requester),
        )

    async def check_name(self, request: NameCheck) -> NameChecked:
        """Say in whose name something is done that needs no group."""
        user = self._users.name(request.requester, request.claimed_user)
        return NameChecked(user=user, via=self._users.via(request.requester))

    async def check_root(self, request: RootCheck) -> Nothing:
        """See that a user may do what concerns everybody."""
        self._users.require_root(request.requester, request.deed)
        return Nothing()

    async def check_item_to_run(self, request: ItemMayRun) -> Nothing:
        """See that the group which an item is kept for may run it now."""
        group = str(request.item.get("user_group"))
        view = self._keeper.catalogue.groups.get(group)
        if view is None:
            raise DeniedError(f"User group '{group}' has no permissions any more")
        view.checker.check(request.item)
        return Nothing()

    async def get_uids(self, request: Empty) -> CatalogChanged:
        """Return the uids of the lists."""
        return self._keeper.catalogue.uids

    async def refresh(self, request: Empty) -> CatalogChanged:
        """Read the environment's catalogue now, and return the uids of the lists."""
        await self._keeper.refresh()
        return self._keeper.catalogue.uids

    async def get_allowed_plans(self, request: GroupQuery) -> Shared[PlanList]:
        """Return the plans that a group may run."""
        return self._plans(self._view(request).allowed.plans, self._keeper.catalogue.uids.plans_allowed_uid)

    async def get_allowed_devices(self, request: GroupQuery) -> Shared[DeviceList]:
        """Return the devices that a group may use."""
        return self._devices(self._view(request).allowed.devices, self._keeper.catalogue.uids.devices_allowed_uid)

    async def get_plan_schemas(self, request: PlanSchemasGet) -> PlanSchemas:
        """Describe the parameters of plans that a group may run as JSON Schema."""
        schemas, definitions = await asyncio.to_thread(self._view(request).schemas, request.names)
        uid = self._keeper.catalogue.uids.allowed_uid
        return PlanSchemas.model_construct(schemas=schemas, definitions=definitions, uid=uid)

    async def get_skipped_plans(self, request: GroupQuery) -> SkippedPlans:
        """Return what looks like a plan and cannot be run by a group, with the reason."""
        allowed, catalogue = self._view(request).allowed.plans, self._keeper.catalogue
        denied = dict.fromkeys(catalogue.plans.keys() - allowed.keys(), "the permissions of your user group exclude it")
        skipped = dict(sorted((denied | dict(catalogue.skipped)).items())[:MOST_SKIPPED])
        return SkippedPlans(skipped=skipped, uid=catalogue.uids.plans_allowed_uid)

    async def get_existing_plans(self, request: Empty) -> Shared[PlanList]:
        """Return all plans."""
        catalogue = self._keeper.catalogue
        return self._plans(catalogue.plans, catalogue.uids.plans_existing_uid)

    async def get_existing_devices(self, request: Empty) -> Shared[DeviceList]:
        """Return all devices."""
        catalogue = self._keeper.catalogue
        return self._devices(catalogue.devices, catalogue.uids.devices_existing_uid)

    def _plans(self, plans: Descriptions, uid: str) -> Shared[PlanList]:
        """The list for all who ask for the same one; another catalogue has other mappings."""
        return self._plan_lists.of(None, (id(plans), uid)) or self._plan_lists.share(
            (id(plans), uid), lambda: PlanList.model_construct(plans=dict(plans), uid=uid), is_long=len(plans) > LONG
        )

    def _devices(self, devices: Descriptions, uid: str) -> Shared[DeviceList]:
        return self._device_lists.of(None, (id(devices), uid)) or self._device_lists.share(
            (id(devices), uid),
            lambda: DeviceList.model_construct(devices=dict(devices), uid=uid),
            is_long=len(devices) > LONG,
        )

    def _explain(self, problem: ItemProblem) -> ItemProblem:
        """Add to a refusal that we may not know what there is."""
        fault = self._keeper.missing.get(CATALOGUE)
        if fault is None:
            return problem
        return problem.model_copy(update={"msg": f"{problem.msg} (But {fault.why})"})

    def _view(self, request: GroupQuery) -> GroupView:
        group = self._users.group_to_read(current_call().requester.user, request.user_group)
        return self._keeper.catalogue.groups[group]
