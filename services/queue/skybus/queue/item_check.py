"""Asks auth whether items may be run and in whose name they are kept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from skybus.bus.api.internal import (
    ITEMS_CHECK,
    NAME_CHECK,
    ROOT_CHECK,
    ItemProblem,
    ItemsCheck,
    ItemsChecked,
    NameCheck,
    NameChecked,
    RootCheck,
)
from skybus.bus.api.items import ByClaim, Item, ItemSpec
from skybus.bus.api.queue import ItemAddBatch, ItemFinding, ItemsValidate, ItemVerdict
from skybus.bus.api.tasks import FunctionSpec
from skybus.bus.arrivals import Arrivals
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, error_from_wire
from skybus.bus.messages import explain
from skybus.bus.service import current_call
from skybus.bus.slices import in_slices
from skybus.queue.records import new_uid
from skybus.queue.rights import Rights


class ItemCheck:
    """Checks what the request that is being answered brings."""

    def __init__(self, bus: Bus, arrivals: Arrivals, rights: Rights) -> None:
        self._bus = bus
        self._arrivals = arrivals
        self._rights = rights

    async def one(self, spec: ItemSpec | FunctionSpec, claim: ByClaim) -> Item:
        """The item with a uid and with whose it is.

        Raises:
            SkybusError: it is refused; as auth says.
        """
        item = spec.to_item()
        if isinstance(spec, FunctionSpec):  # auth looks at its name
            item = {"item_type": spec.item_type, "name": spec.name}
        checked = await self._check([item], claim)
        problem = checked.problems[0]
        if problem:
            raise error_from_wire(problem.code, problem.msg)
        return (await self._stamped([spec], checked))[0]

    async def batch(self, request: ItemAddBatch) -> tuple[list[Item], list[ItemVerdict]]:
        """The items as `one` makes them, and what is said of each.

        Raises:
            InvalidError: one or more are refused; with the verdicts as `results`.
        """
        good, checked, findings = await self._check_all(request.items, request)
        results = [ItemVerdict(success=finding.success, msg=finding.msg) for finding in findings]
        if not all(result.success for result in results):
            raise batch_refused(results)
        return await self._stamped(good, checked), results

    async def findings(self, request: ItemsValidate) -> list[ItemFinding]:
        """What `batch` would say of each item."""
        return (await self._check_all(request.items, request))[2]

    async def name(self, claimed: str | None) -> NameChecked:
        """In whose name something is done that needs no group; a name that is claimed counts for delegates only."""
        requester = current_call().requester.user
        if claimed is None or claimed == requester:
            return NameChecked(user=requester)
        request = NameCheck(requester=requester, claimed_user=claimed)
        return await self._arrivals.when_there(lambda: self._bus.call(NAME_CHECK, request))

    async def require_root(self, deed: str) -> None:
        """Let only those do something who may do what concerns everybody.

        Raises:
            DeniedError: the requester may not.
        """
        request = RootCheck(requester=current_call().requester.user, deed=deed)
        await self._arrivals.when_there(lambda: self._bus.call(ROOT_CHECK, request))

    async def _check_all(
        self, raw_items: list[Any], claim: ByClaim
    ) -> tuple[list[ItemSpec], ItemsChecked, list[ItemFinding]]:
        """The items that are well-formed, what auth says of these, and what is to be said of all."""
        specs = await in_slices(_spec, raw_items)
        good = [spec for spec in specs if isinstance(spec, ItemSpec)]
        checked = await self._check([spec.to_item() for spec in good], claim)
        problems = iter(checked.problems)
        return good, checked, [spec if isinstance(spec, ItemFinding) else _finding(next(problems)) for spec in specs]

    async def _check(self, items: list[Item], claim: ByClaim) -> ItemsChecked:
        request = ItemsCheck.model_construct(
            requester=current_call().requester.user,
            claimed_user=claim.user,
            claimed_group=claim.user_group,
            items=items,
        )
        return await self._arrivals.when_there(lambda: self._bus.call(ITEMS_CHECK, request))

    async def _stamped(self, specs: Sequence[ItemSpec | FunctionSpec], checked: ItemsChecked) -> list[Item]:
        owner = {
            "user": checked.user,
            "user_group": checked.user_group,
            **({"via": checked.via} if checked.via else {}),
        }

        def stamp(spec: ItemSpec | FunctionSpec) -> Item:
            return {**spec.to_item(), **owner, "item_uid": new_uid()}

        items = await in_slices(stamp, specs)
        found_right = partial(self._rights.found_right, lists_uid=checked.lists_uid)
        await in_slices(found_right, itertools.compress(items, checked.may_run))
        return items


def batch_refused(results: Sequence[ItemVerdict]) -> InvalidError:
    """The error of a batch of which nothing was queued."""
    failed = sum(not result.success for result in results)
    return InvalidError(
        f"Failed to add all items: validation of {failed} out of {len(results)} submitted items failed",
        results=[result.model_dump() for result in results],
    )


def _spec(raw: Any) -> ItemSpec | ItemFinding:
    """The item, or what is wrong with it."""
    try:
        return ItemSpec.model_validate(raw)
    except ValidationError as error:
        return ItemFinding(success=False, code=InvalidError.code, msg=explain(error))


def _finding(problem: ItemProblem | None) -> ItemFinding:
    if problem is None:
        return ItemFinding(success=True)
    return ItemFinding(success=False, code=problem.code, msg=problem.msg)
