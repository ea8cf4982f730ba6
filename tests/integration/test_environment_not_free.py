"""An item that the environment is not free for goes back to the front of the queue, and the queue stops."""

from __future__ import annotations

import asyncio

import pytest

from skybus.bus.api.events import ItemChanged
from skybus.bus.api.status import Status
from skybus.bus.errors import WrongStateError
from skybus.bus.messages import decode
from skybus.client.client import Client
from tests.integration.queue_fixtures import COUNT, client, house, opened, queue_service
from tests.integration.worker_fixtures import house_of, one_environment, plan, script
from tests.promises import PATIENCE

__all__ = ["client", "house"]

BUSY = WrongStateError("A plan can not be started: the environment is 'executing_plan', attempt x is running")
TAKEN = """
import threading
class Taken(type(RE)):
    @property
    def state(self):
        in_turn = threading.current_thread() is threading.main_thread()
        return "running" if in_turn and threading.taken else super().state
threading.taken = False
kept, RE = RE, Taken()
"""
"""An engine that somebody else takes between the order of a plan and its turn."""


@pytest.fixture(scope="module")
def environment():
    with one_environment() as nats:
        yield nats


async def is_stopped(client: Client) -> Status:
    return await client.wait(lambda status: status.queue_stopped and status.manager_state == "idle")


@pytest.mark.parametrize("autostart", [False, True])
async def test_an_item_that_the_environment_is_not_free_for_goes_back_and_the_queue_stops(
    nats, valkey, house, client, autostart
) -> None:
    events: asyncio.Queue[ItemChanged] = asyncio.Queue()

    async def on_event(message) -> None:
        events.put_nowait(decode(ItemChanged, message.data))

    await client.bus.subscribe(client.bus.subjects.event("item.*"), on_event)
    await client.bus.settle()
    async with queue_service(nats, valkey):
        await opened(house, client)
        added = await client.add_items([COUNT, COUNT])
        house.refuses_run = BUSY
        await (client.set_autostart(enable=True) if autostart else client.start())
        status = await is_stopped(client)
        assert "the environment was not free" in status.queue_stopped.why
        assert "attempt x is running" in status.queue_stopped.why
        assert not status.queue_autostart_enabled
        assert (await client.queue()).items == added
        assert status.items_in_history == 0
        seen = [await asyncio.wait_for(events.get(), PATIENCE) for _ in range(2)]
        assert [event.state for event in seen] == ["running", "returned"]
    house.refuses_run = None
    async with queue_service(nats, valkey):
        assert (await is_stopped(client)).items_in_queue == 2
        await client.start()
        for item in added:
            order = await house.orders.get()
            assert order.item == item
            await house.finished(order)
        status = await client.wait("queue_drained")
        assert (status.items_in_history, status.queue_stopped) == (2, None)


async def test_an_item_past_the_queue_has_no_place_to_go_back_to_and_is_filed_as_failed(
    nats, valkey, house, client
) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        house.refuses_run = BUSY
        await client.execute("count")
        status = await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        assert (status.items_in_queue, status.queue_stopped) == (0, None)
        assert "attempt x is running" in (await client.history()).items[0]["result"]["msg"]


async def test_an_item_that_the_environment_reports_as_not_begun_goes_back(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        added = await client.add_items([COUNT, COUNT])
        await client.start()
        await house.finished(
            await house.orders.get(), "failed", was_begun=False, msg="Run Engine is in 'running' state"
        )
        assert "'running' state" in (await is_stopped(client)).queue_stopped.why
        assert (await client.queue()).items == added


async def test_a_plan_whose_engine_is_taken_before_its_turn_is_reported_as_not_begun(environment) -> None:
    async with house_of(environment) as house:
        await house.finish_task(script(TAKEN, update_re=True))
        await house.finish_task(script("threading.taken = True", update_lists=False))
        report = await house.finish(plan("steps", 1))
        assert (report["was_begun"], report["run_uids"]) == (False, [])
        assert "Run Engine is in 'running' state" in report["msg"]
        await house.finish_task(script("threading.taken = False", update_lists=False))
        assert (await house.finish(plan("steps", 1)))["exit_status"] == "completed"
