"""A request id stands for one request: with another body it is refused, and nothing is done."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter

import pytest

from skybus.bus.api.items import ItemSpec
from skybus.bus.api.permissions import PERMISSIONS_GET, PERMISSIONS_SET, PermissionsSet
from skybus.bus.api.queue import ITEM_ADD, ItemAdd, ItemAdded
from skybus.bus.api.tasks import SCRIPT_UPLOAD, ScriptUpload
from skybus.bus.errors import ConflictError
from skybus.bus.messages import Empty
from tests.integration import auth_fixtures
from tests.integration.queue_fixtures import COUNT, client, house, opened, queue_service

__all__ = ["client", "house"]

ALL = {"allowed_plans": [None], "allowed_devices": [None]}
EVERYTHING = {"user_groups": {"root": ALL, "primary": ALL}}
NO_COUNT = {"user_groups": {"root": ALL, "primary": {**ALL, "forbidden_plans": [":^count$"]}}}


def count(num: int) -> ItemAdd:
    return ItemAdd(item=ItemSpec.model_validate({**COUNT, "kwargs": {"num": num}}))


async def test_another_item_under_the_id_of_one_that_was_added_is_refused_also_after_a_restart(
    nats, valkey, house, client
) -> None:
    for _ in range(2):
        async with queue_service(nats, valkey):
            await client.wait("idle")
            first = await client.bus.call(ITEM_ADD, count(1), request_id="1")
            with pytest.raises(ConflictError, match="id belongs to a request with another body"):
                await client.bus.call(ITEM_ADD, count(2), request_id="1")
            assert (await client.queue()).items == [first.item]


async def test_another_script_under_the_id_of_one_that_runs_is_refused(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.bus.call(SCRIPT_UPLOAD, ScriptUpload(script="x = 1"), request_id="1")
        with pytest.raises(ConflictError):
            await client.bus.call(SCRIPT_UPLOAD, ScriptUpload(script="x = 2"), request_id="1")
        assert house.tasks.qsize() == 1


async def test_of_requests_that_come_at_once_under_one_id_with_different_bodies_one_is_done(
    nats, valkey, house, client
) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        asking = (client.bus.call(ITEM_ADD, count(num), request_id="1") for num in range(10))
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert Counter(map(type, answers)) == {ConflictError: 9, ItemAdded: 1}
        assert (await client.queue()).qsize == 1


async def test_other_permissions_under_the_id_of_some_that_were_set_are_refused_also_after_a_restart(nats) -> None:
    some, other = (PermissionsSet(user_group_permissions=permissions) for permissions in (NO_COUNT, EVERYTHING))
    async with auth_fixtures.queue_service(nats), nats.bus("operator") as operator:
        for _ in range(2):
            async with auth_fixtures.auth(nats):
                await operator.call(PERMISSIONS_SET, some, request_id="1")
                before = await operator.call(PERMISSIONS_GET, Empty())
                with pytest.raises(ConflictError):
                    await operator.call(PERMISSIONS_SET, other, request_id="1")
                assert await operator.call(PERMISSIONS_GET, Empty()) == before


def test_a_request_has_the_same_bytes_in_another_process() -> None:
    """So a script that repeats a request after its own crash sends the same request."""
    code = "\n".join(
        [
            "from skybus.bus.api.queue import ItemMove",
            "from skybus.bus.messages import encode",
            "print(encode(ItemMove(uid='a', before_uid='b', lock_key='c', expected_queue_uid='d')).decode())",
        ]
    )
    run = [sys.executable, "-c", code]
    written = {subprocess.check_output(run, env={**os.environ, "PYTHONHASHSEED": str(seed)}) for seed in range(1, 6)}
    assert len(written) == 1
