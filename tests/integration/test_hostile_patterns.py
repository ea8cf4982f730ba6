"""Regular expressions that would keep Python busy for ever do not keep auth from its work."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from skybus.bus.api.catalog import PLANS_ALLOWED, GroupQuery
from skybus.bus.api.permissions import PERMISSIONS_SET, PermissionsSet
from skybus.bus.connection import Bus
from tests.integration.auth_fixtures import PLANS, auth, environment, queue_service
from tests.promises import PATIENCE
from tests.servers import NatsServer

ENDLESS = ":^((((([a-z_]+)+)+)+)+)+[0-9]$"
NAME = "count_many_times_with_every_detector"
ALL = {"allowed_plans": [None], "allowed_devices": [None], "allowed_functions": [None]}


@pytest.fixture
async def operator(nats: NatsServer) -> AsyncIterator[Bus]:
    async with nats.bus("operator") as bus:
        yield bus


async def test_an_endless_expression_for_plans_devices_and_functions_is_answered(nats: NatsServer, operator: Bus):
    lists = {"plans": PLANS | {NAME: PLANS["count"]}, "devices": {NAME: {"components": {NAME: {}}}}}
    forbidden = {
        "forbidden_plans": [ENDLESS],
        "forbidden_devices": [f":?{ENDLESS[1:]}", ENDLESS * 3],
        "forbidden_functions": [ENDLESS],
    }
    permissions = {"user_groups": {"root": ALL, "primary": ALL | forbidden}}
    async with queue_service(nats) as queue, environment(nats, **lists), auth(nats), asyncio.timeout(PATIENCE):
        await queue.fetched()
        taken = await operator.call(PERMISSIONS_SET, PermissionsSet(user_group_permissions=permissions))
        assert taken.warnings == []
        allowed = await operator.call(PLANS_ALLOWED, GroupQuery(user_group="primary"))
        assert NAME in allowed.plans
        function = {"item_type": "function", "name": NAME}
        assert await queue.problem(function, requester="bridge", claimed_user="u", claimed_group="primary") is None


async def test_an_expression_that_is_not_supported_is_named_and_gives_no_right(nats: NatsServer, operator: Bus):
    permissions = {"user_groups": {"root": ALL, "primary": ALL | {"allowed_plans": [":(?<!_)count", ":^_"]}}}
    async with queue_service(nats) as queue, environment(nats), auth(nats), asyncio.timeout(PATIENCE):
        await queue.fetched()
        taken = await operator.call(PERMISSIONS_SET, PermissionsSet(user_group_permissions=permissions))
        (warning,) = taken.warnings
        assert "lookbehind is not" in warning
        allowed = await operator.call(PLANS_ALLOWED, GroupQuery(user_group="primary"))
        assert list(allowed.plans) == ["_secret"]
