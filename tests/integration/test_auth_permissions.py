"""Permissions that are set, restored and kept, and the file of existing plans and devices: a real auth service."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from skybus.bus.api.catalog import PLANS_ALLOWED, PLANS_EXISTING, GroupQuery
from skybus.bus.api.events import CatalogChanged, PermissionsChanged
from skybus.bus.api.internal import ITEM_MAY_RUN, ROOT_CHECK, ItemMayRun, RootCheck
from skybus.bus.api.permissions import (
    PERMISSIONS_GET,
    PERMISSIONS_RELOAD,
    PERMISSIONS_SET,
    PermissionsReload,
    PermissionsSet,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import DeniedError, InvalidError, LockedError, UnavailableError
from skybus.bus.messages import Empty, decode
from tests.integration.auth_fixtures import FLAGS, PLANS, Queue, auth, count, environment, queue_service
from tests.promises import PATIENCE
from tests.servers import NatsServer

ALL = {"allowed_plans": [None], "allowed_devices": [None]}
EVERYTHING = {"user_groups": {"root": ALL, "primary": ALL}}
NO_COUNT = {"user_groups": {"root": ALL, "primary": {**ALL, "forbidden_plans": [":^count$"]}}}
LISTS = {"existing_plans": PLANS, "existing_devices": {"det": FLAGS}}
MORE_LISTS = {"existing_plans": PLANS, "existing_devices": {"det": FLAGS, "det2": FLAGS}}


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[Queue]:
    async with queue_service(nats) as queue:
        yield queue


@pytest.fixture
async def operator(nats: NatsServer) -> AsyncIterator[Bus]:
    async with nats.bus("operator") as bus:
        yield bus


@pytest.fixture
def files(nats: NatsServer) -> Path:
    """The startup directory, with both files."""
    folder = nats.data_dir / "startup"
    folder.mkdir()
    _write(folder, permissions=EVERYTHING, lists=LISTS)
    return folder


def _write(folder: Path, *, permissions: Any = None, lists: Any = None) -> None:
    if permissions:
        (folder / "user_group_permissions.yaml").write_text(yaml.dump(permissions))
    if lists:
        (folder / "existing_plans_and_devices.yaml").write_text(yaml.dump(lists))


def _settings(folder: Path, run: str = "1", **settings: str) -> dict[str, str]:
    return {
        "user_group_permissions": str(folder),
        "existing_plans_and_devices": str(folder),
        "stack_run": run,
        **settings,
    }


def _changed(before: CatalogChanged, after: CatalogChanged) -> set[str]:
    return {name.removesuffix("_uid") for name, uid in before if uid != getattr(after, name)}


async def _permissions(bus: Bus) -> dict[str, Any]:
    return (await bus.call(PERMISSIONS_GET, Empty())).user_group_permissions


async def _set(bus: Bus, permissions: dict[str, Any], **more: Any) -> None:
    await bus.call(PERMISSIONS_SET, PermissionsSet(user_group_permissions=permissions, **more))


async def test_permissions_that_are_set_hold_at_once_and_are_announced(nats, queue, operator, files):
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def on_event(message) -> None:
        seen.put_nowait(decode(PermissionsChanged, message.data).permissions_uid)

    await operator.subscribe(operator.subjects.event("permissions"), on_event)
    await operator.settle()
    async with auth(nats, **_settings(files)):
        first, before = await asyncio.wait_for(seen.get(), PATIENCE), await queue.uids()
        await _set(operator, NO_COUNT)

        assert await asyncio.wait_for(seen.get(), PATIENCE) != first
        assert await _permissions(operator) == NO_COUNT
        assert _changed(before, after := await queue.uids()) == {"plans_allowed", "devices_allowed"}
        shown = await operator.call(PLANS_ALLOWED, GroupQuery(user_group="primary"))
        assert ("count" in shown.plans, shown.uid) == (False, after.plans_allowed_uid)
        await _set(operator, NO_COUNT)
        assert await queue.uids() == after, "the same permissions change nothing"


async def test_wrong_permissions_are_refused_and_the_present_ones_hold_on(nats, queue, operator, files):
    async with auth(nats, **_settings(files, user_groups='{"operator": "root", "ada": "primary"}')):
        for wrong, message in [
            ({}, "'user_groups' is a required property"),
            ({"user_groups": {}}, "Missing required user group: 'root'"),
            ({"user_groups": {"root": ALL}}, "user 'ada', names user group 'primary'"),
        ]:
            with pytest.raises(InvalidError, match=message):
                await _set(operator, wrong)
        assert await _permissions(operator) == EVERYTHING


async def test_a_change_needs_the_group_root_and_the_key_of_the_lock(nats, queue, operator, files):
    async with auth(nats, **_settings(files)):
        queue.lock_key = "abc"
        with pytest.raises(LockedError):
            await _set(operator, NO_COUNT)
        with pytest.raises(LockedError):
            await operator.call(PERMISSIONS_RELOAD, PermissionsReload(lock_key="wrong"))
        await _set(operator, NO_COUNT, lock_key="abc")
        await queue.bus.call(ROOT_CHECK, RootCheck(requester="operator", deed="do it"))
    async with auth(nats, **_settings(files, user_groups='{"operator": "primary"}')):
        with pytest.raises(DeniedError, match="only user group 'root' may"):
            await _set(operator, EVERYTHING, lock_key="abc")
        with pytest.raises(DeniedError, match="'operator' may not do it"):
            await queue.bus.call(ROOT_CHECK, RootCheck(requester="operator", deed="do it"))


async def test_without_the_queue_service_nothing_is_changed(nats, operator, files):
    async with auth(nats, **_settings(files)):
        with pytest.raises(UnavailableError):
            await _set(operator, NO_COUNT)
        assert await _permissions(operator) == EVERYTHING


async def test_what_was_set_outlives_auth_and_nats_and_ends_with_the_run_of_the_stack(nats, queue, operator, files):
    async with auth(nats, **_settings(files)) as service:
        await _set(operator, NO_COUNT)
        uids = await queue.uids()
        await service.stop(signal.SIGKILL)
    nats.stop(signal.SIGKILL)
    await nats.start()
    await asyncio.gather(queue.bus.wait_connected(), operator.wait_connected())
    async with auth(nats, **_settings(files)):
        assert (await _permissions(operator), await queue.uids()) == (NO_COUNT, uids)
    async with auth(nats, **_settings(files, run="2", user_group_permissions_reload="ON_REQUEST")):
        assert (await _permissions(operator), await queue.uids()) == (NO_COUNT, uids)
    async with auth(nats, **_settings(files, run="3")):
        assert await _permissions(operator) == EVERYTHING


async def test_reload_reads_the_files_that_are_asked_for_and_always_renews_the_uids(nats, queue, operator, files):
    async with auth(nats, **_settings(files)):
        begin = await queue.uids()
        _write(files, permissions=NO_COUNT, lists=MORE_LISTS)

        await operator.call(PERMISSIONS_RELOAD, PermissionsReload(restore_permissions=False))
        assert await _permissions(operator) == EVERYTHING
        assert _changed(begin, second := await queue.uids()) == {"plans_allowed", "devices_allowed"}

        await operator.call(PERMISSIONS_RELOAD, PermissionsReload())
        assert await _permissions(operator) == NO_COUNT
        assert _changed(second, third := await queue.uids()) == {"plans_allowed", "devices_allowed"}
        assert await queue.problem(count("det2"))

        await operator.call(PERMISSIONS_RELOAD, PermissionsReload(restore_plans_devices=True))
        assert len(_changed(third, await queue.uids())) == 4
        assert await queue.problem(count("det2")) is None


async def test_reload_with_a_wrong_file_is_refused_and_nothing_changes(nats, queue, operator, files):
    async with auth(nats, **_settings(files)):
        before = await queue.uids()
        (files / "user_group_permissions.yaml").write_text("user_groups: [")
        with pytest.raises(InvalidError, match="cannot be read"):
            await operator.call(PERMISSIONS_RELOAD, PermissionsReload())
        assert (await _permissions(operator), await queue.uids()) == (EVERYTHING, before)


async def test_plans_are_known_from_their_file_until_an_environment_has_others(nats, queue, operator, files):
    async with auth(nats, **_settings(files)):
        assert await queue.problem(count("det")) is None
        from_file = await queue.uids()
        async with environment(nats, plans={}) as env:
            await env.tell()
            from_environment = await queue.changed(from_file)
            assert (await operator.call(PLANS_EXISTING, Empty())).plans == {}
    async with auth(nats, **_settings(files)):  # the environment is gone, its lists stay
        assert await queue.uids() == from_environment
    async with auth(nats, **_settings(files, run="2")):
        assert await queue.uids() == from_file


async def test_lists_of_a_living_environment_win_over_the_file(nats, queue, files):
    async with environment(nats, plans={}), auth(nats, **_settings(files)):
        assert (await queue.fetched()).plans_existing_uid


async def test_lists_restored_from_their_file_stay_while_the_environment_has_nothing_new(nats, queue, operator, files):
    async with environment(nats, plans={}) as env, auth(nats, **_settings(files)):
        before = await queue.fetched()
        await operator.call(PERMISSIONS_RELOAD, PermissionsReload(restore_plans_devices=True))
        restored = await queue.changed(before)
        await env.tell()
        await env.change("new lists", plans={"count": PLANS["count"]})
        announced = await queue.changed(restored)
        assert list((await operator.call(PLANS_EXISTING, Empty())).plans) == ["count"]
        assert await queue.uids() == announced
        for _ in range(2):  # for the lists at first, and for the new ones
            await env.was_read.acquire()
        assert env.was_read.locked()


async def test_an_item_that_was_queued_may_not_run_when_its_group_has_lost_the_right(nats, queue, operator, files):
    item = ItemMayRun(item={**count("det"), "user": "Ada", "user_group": "primary"})
    async with auth(nats, **_settings(files)):
        await queue.bus.call(ITEM_MAY_RUN, item)
        await _set(operator, NO_COUNT)
        with pytest.raises(DeniedError, match="'count' is not in the list of allowed plans"):
            await queue.bus.call(ITEM_MAY_RUN, item)
        await _set(operator, {"user_groups": {"root": ALL}})
        with pytest.raises(DeniedError, match="'primary' has no permissions any more"):
            await queue.bus.call(ITEM_MAY_RUN, item)


async def test_the_same_request_changes_permissions_once_also_after_a_restart(nats, queue, operator, files):
    reload, change = PermissionsReload(), PermissionsSet(user_group_permissions=NO_COUNT)
    async with auth(nats, **_settings(files)):
        await operator.call(PERMISSIONS_SET, change, request_id="set")
        await operator.call(PERMISSIONS_RELOAD, reload, request_id="reload")
        await _set(operator, EVERYTHING)
        before = await queue.uids()
    for _ in range(2):
        async with auth(nats, **_settings(files)):
            await operator.call(PERMISSIONS_SET, change, request_id="set")
            await operator.call(PERMISSIONS_RELOAD, reload, request_id="reload")
            assert await _permissions(operator) == EVERYTHING
            assert await queue.uids() == before
