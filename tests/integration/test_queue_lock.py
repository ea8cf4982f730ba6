"""The lock of the queue service on real NATS and Valkey."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

import pytest

from skybus.bus.api.environment import ENVIRONMENT_OPEN, EnvironmentControl
from skybus.bus.api.events import LockChanged
from skybus.bus.api.internal import LOCK_CHECK, LockCheck
from skybus.bus.api.items import QueueChange
from skybus.bus.api.lock import LOCK, LOCK_INFO, UNLOCK, LockInfoGet, LockSet, LockShown, Unlock
from skybus.bus.api.queue import QUEUE_CLEAR, QUEUE_MODE_SET, QueueModeSet
from skybus.bus.errors import LockedError
from skybus.client.client import Client
from tests.integration.queue_fixtures import COUNT, client, house, queue_service

__all__ = ["client", "house"]

KEY, EMERGENCY = "the key", "in case of fire"


async def lock(client: Client, key: str = KEY, **parts: bool) -> LockShown:
    return await client.call(LOCK, LockSet(lock_key=key, note="new detector", **parts))


async def info(client: Client) -> LockShown:
    return await client.call(LOCK_INFO, LockInfoGet())


async def test_what_is_locked_answers_only_to_the_key(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        await lock(client, queue=True)
        with pytest.raises(LockedError, match="Invalid lock key.*'operator'.*new detector"):
            await client.add_item(COUNT)
        await client.call(QUEUE_MODE_SET, QueueModeSet(mode={"loop": True}, lock_key=KEY))
        await client.call(ENVIRONMENT_OPEN, EnvironmentControl())
        assert (await client.status()).items_in_queue == 0
        with pytest.raises(LockedError, match="different key"):
            await lock(client, "another", environment=True)
        await lock(client, environment=True)  # who has the key may lock something else
        await client.add_item(COUNT)
        for parts, is_refused in (({"queue": True}, False), ({"environment": True}, True)):
            try:
                await house.services.call(LOCK_CHECK, LockCheck(**parts))
            except LockedError:
                assert is_refused
            else:
                assert not is_refused


async def test_the_lock_outlives_the_queue_service_and_is_told_of(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey), aclosing(client.events("lock")) as events:
        await client.wait("idle")
        following = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        shown = await lock(client, environment=True, queue=True)
        event = (await following).read(LockChanged)
        assert (event.lock_info_uid, event.environment, event.user) == (shown.lock_info_uid, True, "operator")
    async with queue_service(nats, valkey):
        status = await client.wait("idle")
        assert (status.lock.environment, status.lock.queue) == (True, True)
        assert status.lock_info_uid == shown.lock_info_uid
        assert await info(client) == shown


async def test_the_emergency_key_unlocks_and_does_nothing_else(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey, emergency_lock_key=EMERGENCY):
        await client.wait("idle")
        locked = await lock(client, queue=True)
        assert locked.lock_info.emergency_lock_key_is_set
        for request, endpoint in (
            (LockInfoGet(lock_key=EMERGENCY), LOCK_INFO),
            (QueueChange(lock_key=EMERGENCY), QUEUE_CLEAR),
            (Unlock(lock_key="another"), UNLOCK),
        ):
            with pytest.raises(LockedError, match="Invalid lock key") as refused:
                await client.call(endpoint, request)
            if endpoint is not QUEUE_CLEAR:
                assert refused.value.details == locked.model_dump()
        unlocked = await client.call(UNLOCK, Unlock(lock_key=EMERGENCY))
        assert unlocked.lock_info_uid != locked.lock_info_uid
        assert await client.call(UNLOCK, Unlock(lock_key="any")) == unlocked


async def test_nothing_slips_past_a_lock_that_was_just_granted(nats, valkey, house, client) -> None:
    """Requests that were on their way when the lock came are either done before it or refused."""
    async with queue_service(nats, valkey):
        await client.wait("idle")
        adding = [asyncio.create_task(client.add_item(COUNT)) for _ in range(50)]
        locking = asyncio.create_task(lock(client, queue=True))
        adding += [asyncio.create_task(client.add_item(COUNT)) for _ in range(50)]
        await locking
        size = (await client.queue()).qsize
        outcomes = await asyncio.gather(*adding, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, LockedError)]
        assert (await client.queue()).qsize == size == len(outcomes) - len(refused)


async def clear_lock(*arguments: str) -> int:
    command = [sys.executable, "-m", "skybus.queue.clear_lock", *arguments]
    return await (await asyncio.create_subprocess_exec(*command)).wait()


async def test_the_lock_is_cleared_in_redis_for_the_next_start(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        locked = await lock(client, queue=True)
        assert await clear_lock("--redis-url", valkey.url) == 0
        assert await info(client) == locked
    async with queue_service(nats, valkey):
        await client.wait("idle")
        cleared = await info(client)
        assert not cleared.lock_info.queue
        assert cleared.lock_info_uid != locked.lock_info_uid
        await client.add_item(COUNT)
    assert await clear_lock("--redis-url", valkey.url) == 0
    assert await clear_lock("--redis-url", f"{valkey.url}.not-there") == 1
    assert await clear_lock("--unknown") == 2
