"""The auth service as a real process on a real NATS server: the check of items, and the lists."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import psutil
import pytest

from skybus.bus.api.catalog import DEVICES_ALLOWED, DEVICES_EXISTING, PLANS_ALLOWED, PLANS_EXISTING, GroupQuery
from skybus.bus.errors import DeniedError, InvalidError
from skybus.bus.messages import Empty
from tests.integration.auth_fixtures import (
    DEVICES,
    FLAGS,
    Queue,
    auth,
    count,
    environment,
    queue_service,
    start_auth,
)
from tests.promises import PATIENCE, within
from tests.servers import NatsServer


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[Queue]:
    async with queue_service(nats) as queue:
        yield queue


async def test_items_are_checked_against_the_catalogue_of_the_environment(nats, queue):
    async with auth(nats), environment(nats) as env:
        await env.tell()
        await queue.fetched()

        checked = await queue.check(
            count("det", "det.val", num=3),
            count("det", name="cuont"),
            count("dte"),
            count("det", num="three"),
            count("det", number=3),
            count("det", name="_secret"),
            {"item_type": "instruction", "name": "queue_stop"},
        )

    assert (checked.user, checked.user_group) == ("operator", "root")
    codes = [problem and problem.code for problem in checked.problems]
    assert codes == [None, "not_found", "not_found", "invalid", "invalid", "denied", None]
    messages = [problem.msg if problem else "" for problem in checked.problems]
    assert "Plan 'cuont' is not in the list of allowed plans. Did you mean 'count'?" in messages[1]
    assert "Did you mean 'det'?" in messages[2]
    assert "key='num'" in messages[3]
    assert "got an unexpected keyword argument 'number'" in messages[4]


async def test_before_any_environment_plans_are_not_known(nats, queue):
    async with auth(nats), nats.bus("operator") as operator:
        problem = await queue.problem(count("det"))
        assert (problem.code, "no environment has been opened yet" in problem.msg) == ("wrong_state", True)
        assert await queue.problem({"item_type": "instruction", "name": "queue_stop"}) is None
        assert (await operator.call(PLANS_EXISTING, Empty())).plans == {}


async def test_catalogue_of_an_environment_that_was_there_first_is_fetched(nats, queue):
    async with environment(nats), auth(nats):
        uids = await queue.fetched()
        assert await queue.uids() == uids
        assert await queue.problem(count("det")) is None


async def test_uids_change_only_with_their_lists(nats, queue):
    async with auth(nats), environment(nats, part_size=100_000) as env:
        await env.tell()
        first = await queue.fetched()
        await env.was_read.acquire()
        await env.change("the same lists again")
        await asyncio.wait_for(env.was_read.acquire(), PATIENCE)
        await env.change("new device", devices={**DEVICES, "det2": FLAGS})
        second = await queue.changed(first)

    assert second.plans_existing_uid == first.plans_existing_uid
    assert second.plans_allowed_uid == first.plans_allowed_uid
    assert second.devices_existing_uid != first.devices_existing_uid
    assert second.devices_allowed_uid != first.devices_allowed_uid


async def test_claim_of_a_delegate_counts_and_of_another_user_does_not(nats, queue):
    claims = {"claimed_user": "Ada", "claimed_group": "primary"}
    async with auth(nats):
        claimed = await queue.check(requester="bridge", **claims)
        ignored = await queue.check(requester="operator", **claims)
        stranger = await queue.check(requester="agent", claimed_user="operator", claimed_group="root")

    assert (claimed.user, claimed.user_group) == ("Ada", "primary")
    assert (ignored.user, ignored.user_group) == ("operator", "root")
    assert (stranger.user, stranger.user_group) == ("agent", "primary")


@pytest.mark.parametrize(
    ("claims", "error", "message"),
    [
        ({"claimed_group": "primary"}, InvalidError, "user name is not specified"),
        ({"claimed_user": "Ada"}, InvalidError, "user group is not specified"),
        (
            {"claimed_user": "Ada", "claimed_group": "no_such_group"},
            InvalidError,
            "Unknown user group: 'no_such_group'",
        ),
        ({"claimed_user": "Ada", "claimed_group": "root"}, DeniedError, "may not act for user group 'root'"),
    ],
)
async def test_claim_that_is_incomplete_or_not_granted_is_refused(nats, queue, claims, error, message):
    async with auth(nats, delegates='{"bridge": ["primary"]}'):
        with pytest.raises(error, match=message):
            await queue.check(count("det"), requester="bridge", **claims)


async def test_lists_are_those_of_the_group(nats, queue):
    async with auth(nats), environment(nats) as env, nats.bus("bridge") as bridge, nats.bus("operator") as operator:
        await env.tell()
        uids = await queue.fetched()

        plans = await operator.call(PLANS_ALLOWED, GroupQuery())
        assert (list(plans.plans), plans.uid) == (["count"], uids.plans_allowed_uid)
        devices = await bridge.call(DEVICES_ALLOWED, GroupQuery(user_group="observer"))
        assert (devices.devices, devices.uid) == ({}, uids.devices_allowed_uid)
        assert (await operator.call(DEVICES_EXISTING, Empty())).devices == DEVICES
        with pytest.raises(InvalidError, match="user group is not specified"):
            await bridge.call(PLANS_ALLOWED, GroupQuery())
        with pytest.raises(InvalidError, match="Unknown user group: 'no_such_group'"):
            await operator.call(PLANS_ALLOWED, GroupQuery(user_group="no_such_group"))


async def test_lists_of_another_group_are_shown_only_to_root(nats):
    async with auth(nats, user_groups='{"operator": "primary"}'), nats.bus("operator") as operator:
        with pytest.raises(DeniedError, match="may not see what user group 'root' may use"):
            await operator.call(PLANS_ALLOWED, GroupQuery(user_group="root"))


async def test_catalogue_outlives_auth_nats_and_environment(nats, queue):
    async with auth(nats) as service, environment(nats) as env:
        await env.tell()
        uids = await queue.fetched()
        await service.stop(signal.SIGKILL)
    nats.stop(signal.SIGKILL)
    await nats.start()
    await queue.bus.wait_connected()
    async with auth(nats):
        assert await queue.uids() == uids
        assert await queue.problem(count("det")) is None
        assert (await queue.problem(count("dte"))).code == "not_found"


def cpu_seconds(pid: int) -> float:
    """What a process has worked, however long others kept it waiting."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@within(1)
async def test_large_catalogue_is_fetched_and_checks_stay_fast(nats, queue, limit):
    components = dict.fromkeys(("x", "y", "val"), FLAGS)
    devices = {f"dev_{n}": {**FLAGS, "components": components} for n in range(13_000)}
    async with (
        auth(nats) as service,
        environment(nats, devices=devices, part_size=30_000) as env,
        nats.bus("operator") as operator,
    ):
        await env.tell()
        await queue.fetched()
        worked = cpu_seconds(service.process.pid)
        checked = await queue.check(*(count(f"dev_{n}", f"dev_{n}.val", num=5) for n in range(1000)))
        worked = cpu_seconds(service.process.pid) - worked
        allowed = await operator.call(DEVICES_ALLOWED, GroupQuery(), timeout=PATIENCE)
        assert await service.stop() == 0

    assert checked.problems == [None] * 1000
    assert worked < limit
    await env.was_read.acquire()
    assert env.was_read.locked(), "it was read more than once"
    assert len(allowed.devices) == 13_000


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (None, {}, "cannot be read from"),
        ("user_groups: {primary: [}", {}, "cannot be read from"),
        ("user_groups: {primary: {}}", {}, "Missing required user group: 'root'"),
        ("user_groups: {root: {}}", {"default_group": "users"}, "default_group names user group 'users'"),
    ],
)
async def test_service_does_not_start_on_wrong_permissions(nats, content, settings, message):
    file = nats.data_dir / "permissions.yaml"
    if content:
        file.write_text(content)
    process = await start_auth(nats.data_dir, quiet="yes", user_group_permissions=str(file), **settings)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 1
    assert message in errors.decode()
    assert len(errors.decode().splitlines()) == 1
