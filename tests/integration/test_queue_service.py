"""The queue service on real NATS and Valkey; worker, environment and auth are stand-ins that can be told to fail."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import Any

import orjson
import pytest
from nats.aio.msg import Msg

from skybus.bus.api import queue as queue_api
from skybus.bus.api.events import EnvironmentFacts
from skybus.bus.api.health import health_of
from skybus.bus.api.internal import ENVIRONMENT_STATE_TOPIC, EnvironmentPhase, PlanReport
from skybus.bus.api.items import ItemSpec, QueueChange
from skybus.bus.api.queue import (
    ITEM_ADD,
    ITEM_ADD_BATCH,
    ITEM_MOVE,
    ITEM_MOVE_BATCH,
    ITEM_REMOVE,
    ITEM_REMOVE_BATCH,
    ITEM_UPDATE,
    QUEUE_CLEAR,
    ItemAdd,
)
from skybus.bus.api.status import STATUS_GET, Status
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import ConflictError, DeniedError, InvalidError, UnavailableError
from skybus.bus.messages import Empty, encode
from skybus.client.client import Client
from skybus.client.events import topic_of
from skybus.queue import surroundings
from skybus.queue.publisher import AT_ONCE, PACE
from skybus.worker.outbox import Outbox
from skybus.worker.spool import Spool
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, opened, queue_service
from tests.promises import PATIENCE

__all__ = ["StandIns", "client", "house", "queue_service"]


async def test_the_next_plan_starts_when_the_report_of_the_last_has_come(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_items([COUNT, COUNT])
        await client.start()
        first = await house.orders.get()
        await house.finished(first)
        second = await house.orders.get()
        assert second.attempt != first.attempt
        await house.finished(second)
        await client.wait("queue_drained")
        assert (await client.status()).items_in_history == 2


async def test_an_order_that_is_not_confirmed_is_sent_again_as_the_same_attempt(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        house.answers_run = False
        await client.add_item(COUNT)
        await client.start()
        first, again = await house.orders.get(), await house.orders.get()
        house.answers_run = True
        assert first == again
        await house.finished(first)
        await house.finished(first)  # a report that is delivered twice
        await client.wait("queue_drained")
        await client.add_item(COUNT)
        await client.start()
        while (second := await house.orders.get()) == first:
            pass
        await house.finished(second)
        assert (await client.wait("queue_drained")).items_in_history == 2


async def test_a_report_larger_than_a_message_is_filed(nats, valkey, house, client, tmp_path) -> None:
    """The environment's outbox makes it smaller."""
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        order = await house.orders.get()
        report = PlanReport(
            environment_id=str(house.environment_id),
            attempt=order.attempt,
            item_uid=order.item["item_uid"],
            exit_status="completed",
            time_start=time.time(),
            time_stop=time.time(),
            return_value="x" * house.environment.connection.max_payload,
        )
        with closing(Spool(tmp_path / "spool")) as spool:
            outbox = Outbox(spool, house.environment, tmp_path / "undelivered")
            outbox.put(house.environment.subjects.life("report"), encode(report), "report", {})
            await outbox.run_until_delivered()
        assert (await client.wait("queue_drained", 5)).items_in_history == 1


async def test_a_report_waits_while_redis_is_away(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        order = await house.orders.get()
        valkey.stop()
        await house.finished(order)
        with pytest.raises(UnavailableError, match="Redis"):
            await client.call(ITEM_ADD, ItemAdd(item=ItemSpec.model_validate(COUNT)), timeout=2)
        await valkey.start()
        status = await client.wait(lambda status: status.manager_state == "idle")
        assert status.items_in_history == 1


async def test_a_running_plan_is_taken_up_by_the_next_queue_service(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_items([COUNT, COUNT])
        await client.start()
        order = await house.orders.get()
    await house.finished(order)
    async with queue_service(nats, valkey):
        again = await house.orders.get()
        while again.attempt == order.attempt:
            again = await house.orders.get()
        await house.finished(again)
        await client.wait(lambda status: status.items_in_history == 2)


async def test_the_first_answer_after_a_restart_knows_what_runs(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        order = await house.orders.get()
    async with queue_service(nats, valkey):
        async with asyncio.timeout(PATIENCE):
            while (status := await answered(client)) is None:
                await asyncio.sleep(0.005)  # that somebody answers is told by nobody
        assert (status.manager_state, status.worker_environment_state) == ("executing_queue", "idle")
        await house.finished(order)
        await client.wait("queue_drained")


async def answered(client: Client) -> Status | None:
    try:
        return await client.status()
    except UnavailableError:
        return None


async def test_an_environment_that_opens_although_nobody_answered_is_found(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await client.wait("idle")
        house.answers_open = False
        await client.open_environment(wait=False)  # asks again
        await client.wait(lambda status: status.worker_environment_exists)
        assert len(house.opened_ids) == 1


async def test_a_pause_is_told_by_the_environment(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        order = await house.orders.get()
        phases = {"paused": EnvironmentPhase.IDLE, "running": EnvironmentPhase.EXECUTING_PLAN}
        for revision, (re_state, phase) in enumerate(phases.items(), start=2):
            house.state = house.state.model_copy(
                update={"revision": revision, "attempt": order.attempt, "re_state": re_state, "phase": phase}
            )
            await house.environment.publish(house.environment.subjects.internal(ENVIRONMENT_STATE_TOPIC), house.state)
            state = "paused" if re_state == "paused" else "executing_queue"
            await client.wait(lambda status, state=state: status.manager_state == state)
        await house.finished(order, "aborted")
        await client.wait("idle")
        assert [item["name"] for item in (await client.queue()).items] == ["count"]


CHANGES: dict[Endpoint[Any, Any], dict[str, Any]] = {
    ITEM_ADD: {"item": COUNT},
    ITEM_ADD_BATCH: {"items": [COUNT]},
    ITEM_UPDATE: {"item": {**COUNT, "item_uid": "the first"}},
    ITEM_MOVE: {"pos": "front", "pos_dest": "back"},
    ITEM_MOVE_BATCH: {"uids": ["the first"], "pos_dest": "back"},
    ITEM_REMOVE: {"pos": "front"},
    ITEM_REMOVE_BATCH: {"uids": ["the first"]},
    QUEUE_CLEAR: {},
}


def test_every_request_that_can_be_refused_as_stale_is_in_the_table() -> None:
    endpoints = {one for one in vars(queue_api).values() if isinstance(one, Endpoint)}
    assert set(CHANGES) == {one for one in endpoints if issubclass(one.request, QueueChange)}


async def test_a_change_on_stale_knowledge_is_refused(nats, valkey, house, client) -> None:
    """Each change of the queue, made on the queue of before and on that of now."""
    async with queue_service(nats, valkey):
        await client.wait("idle")
        stale = (await client.queue()).plan_queue_uid
        first, _ = await client.add_items([COUNT, COUNT])
        for endpoint, fields in CHANGES.items():
            now = await client.queue()
            text = orjson.dumps(fields).replace(b"the first", first["item_uid"].encode())
            given = orjson.loads(text)
            with pytest.raises(ConflictError, match="changed since you read it"):
                await client.call(endpoint, endpoint.request(**given, expected_queue_uid=stale))
            assert await client.queue() == now, endpoint.name
            await client.call(endpoint, endpoint.request(**given, expected_queue_uid=now.plan_queue_uid))


async def test_an_item_whose_right_was_taken_away_fails_when_its_turn_comes(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await house.allowed_lists_change()
        await client.wait(lambda status: status.plans_allowed_uid == str(house.catalogue))
        house.refuses_to_run = DeniedError("Plan 'count' is not allowed any more")
        await client.start()
        status = await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        assert status.items_in_queue == 1
        assert "not allowed any more" in (await client.history()).items[0]["result"]["msg"]
        assert house.orders.empty()


@pytest.mark.parametrize("ignore_failures", [False, True])
async def test_a_plan_that_the_environment_refuses_stops_the_queue(
    nats, valkey, house, client, ignore_failures
) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.set_mode({"ignore_failures": ignore_failures})
        await client.add_items([COUNT, COUNT])
        house.refuses_run = InvalidError("the item cannot be read")
        await client.start()
        status = await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        assert status.items_in_queue == 2
        assert "the item cannot be read" in (await client.history()).items[0]["result"]["msg"]
        house.refuses_run = None
        await client.start()
        for _ in range(2):
            await house.finished(await house.orders.get())
        assert (await client.wait("queue_drained")).items_in_history == 3


async def test_plans_whose_right_was_taken_away_fail_one_by_one_if_failures_are_ignored(
    nats, valkey, house, client
) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.set_mode({"ignore_failures": True})
        await client.add_items([COUNT, COUNT])
        await house.allowed_lists_change()
        await client.wait(lambda status: status.plans_allowed_uid == str(house.catalogue))
        house.refuses_to_run = DeniedError("Plan 'count' is not allowed any more")
        await client.start()
        assert (await client.wait("queue_drained")).items_in_history == 2


async def test_an_item_that_was_found_right_runs_also_while_auth_is_away(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        house.refuses_to_run = UnavailableError("auth is away")
        await client.start()
        await house.finished(await house.orders.get())
        await client.wait("queue_drained")
        assert house.checked_to_run == []


async def test_a_copy_that_is_run_again_needs_no_further_check(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.set_mode({"loop": True})
        await client.add_item(COUNT)
        house.refuses_to_run = UnavailableError("auth is away")
        await client.start()
        for _ in range(3):
            await house.finished(await house.orders.get())
        await client.wait(lambda status: status.items_in_history == 3)
        assert house.checked_to_run == []


async def test_an_item_that_was_changed_is_checked_when_its_turn_comes(nats, valkey, house, client) -> None:
    """Over 0MQ what a group may not use yet can be queued, also in the place of what it may."""
    async with queue_service(nats, valkey):
        await opened(house, client)
        added = await client.add_item(COUNT)
        house.may_run = False
        await client.update_item({**COUNT, "item_uid": added["item_uid"], "kwargs": {"num": 2}})
        house.refuses_to_run = DeniedError("Device 'secret' is not allowed")
        await client.start()
        await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        assert house.orders.empty()


async def test_an_item_that_waits_for_its_check_does_not_run_unchecked_after_a_restart(
    nats, valkey, house, client
) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        house.may_run = False
        await client.add_item(COUNT)
        house.refuses_to_run = UnavailableError("auth is away")
        await client.start()
        await client.wait(lambda status: bool(status.running_item_uid))
    async with queue_service(nats, valkey):
        await client.wait(lambda status: bool(status.running_item_uid))
        house.refuses_to_run = DeniedError("Device 'secret' is not allowed")
        await client.wait(lambda status: status.items_in_history == 1 and status.manager_state == "idle")
        assert house.orders.empty()


async def test_an_environment_that_the_worker_has_not_any_more_is_forgotten(
    nats, valkey, house, client, monkeypatch
) -> None:
    monkeypatch.setattr(surroundings, "LOOK_EVERY", 0.1)
    async with queue_service(nats, valkey):
        await opened(house, client)
        await client.add_item(COUNT)
        await client.start()
        await house.orders.get()
        house.environment_id = house.state = None  # and its end was told to nobody
        status = await client.wait(lambda status: not status.worker_environment_exists)
        assert (status.manager_state, status.items_in_history, status.items_in_queue) == ("idle", 1, 1)
        house.asked_to_open.clear()
        await opened(house, client)


async def test_each_change_of_queue_and_history_is_an_event(nats, valkey, house, client) -> None:
    told = dict[str, asyncio.Queue[dict[str, Any]]](queue=asyncio.Queue(), history=asyncio.Queue())

    async def note(message: Msg) -> None:
        told[topic_of(client.bus, message)].put_nowait(orjson.loads(message.data))

    async with queue_service(nats, valkey):
        await opened(house, client)
        for topic in told:
            await client.bus.subscribe(client.bus.subjects.event(topic), note)
        await client.bus.settle()
        await client.add_item(COUNT)
        assert (await told["queue"].get())["qsize"] == 1
        await client.start()
        begun = await told["queue"].get()
        assert (begun["qsize"], begun["running_item_uid"]) == (0, (await client.status()).running_item_uid)
        await house.finished(await house.orders.get())
        assert (await told["history"].get())["size"] == 1
        assert (await told["queue"].get())["running_item_uid"] is None
        await client.clear_history()
        assert (await told["history"].get())["size"] == 0


async def test_a_burst_of_changes_is_told_to_all_who_follow_in_few_statuses(nats, valkey, house, client) -> None:
    told = list[Status]()
    all_are_queued = asyncio.Event()

    async def note(message: Msg) -> None:
        told.append(Status.model_validate_json(message.data))
        if told[-1].items_in_queue == 200:
            all_are_queued.set()

    async with queue_service(nats, valkey):
        await opened(house, client)
        begin = time.monotonic()
        await client.bus.subscribe(client.bus.subjects.event("status"), note)
        await client.bus.settle()
        await asyncio.gather(*(client.add_item(COUNT) for _ in range(200)))
        await all_are_queued.wait()
        assert len(told) <= AT_ONCE + (time.monotonic() - begin) / PACE + 2


async def test_a_place_that_is_none_is_refused_and_the_refusal_shows_the_item(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        with pytest.raises(InvalidError, match="pos='middle'") as refusal:
            await client.add_item(COUNT, pos="middle")
        assert refusal.value.details["item"]["name"] == "count"
        assert refusal.value.details["item"]["user"] == "operator"
        with pytest.raises(InvalidError, match="validation of 2 out of 2"):
            await client.add_items([COUNT, COUNT], pos="front", after_uid="any")
        assert (await client.queue()).qsize == 0


async def test_the_first_status_has_the_lists_of_an_auth_that_has_only_begun(nats, valkey, house, client) -> None:
    house.late_lists = 3
    async with queue_service(nats, valkey):
        assert (await client.call(STATUS_GET, Empty())).plans_allowed_uid == "1"


async def test_the_first_status_does_not_wait_long_for_auth(nats, valkey, house, client, monkeypatch) -> None:
    monkeypatch.setattr(surroundings, "FIRST_PATIENCE", 0.1)
    house.is_silent.add("auth")
    async with queue_service(nats, valkey):
        assert (await client.call(STATUS_GET, Empty())).plans_allowed_uid == ""


async def test_the_status_says_since_when_redis_auth_and_worker_do_not_answer(
    nats, valkey, house, client, monkeypatch
) -> None:
    monkeypatch.setattr(surroundings, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(surroundings, "PATIENCE", 0.5)
    begin = time.time()
    async with queue_service(nats, valkey):
        await opened(house, client)
        assert (await client.status()).unreachable == {}
        valkey.stop()
        house.is_silent.add("auth")
        await client.wait(lambda status: set(status.unreachable) == {"redis", "auth"})
        house.is_silent |= {"worker", "environment"}
        status = await client.wait(lambda status: len(status.unreachable) == 4)
        assert status.worker_environment_exists  # what was known last
        assert "Redis does not answer" in status.unreachable["redis"].why
        assert all(begin < absence.since < time.time() for absence in status.unreachable.values())
        assert (await client.call(health_of("queue"), Empty())).missing == status.unreachable
        house.is_silent.clear()
        await valkey.start()
        await client.wait(lambda status: not status.unreachable)
        assert not (await client.call(health_of("queue"), Empty())).missing


async def test_nothing_follows_a_plan_that_was_to_be_aborted_and_ends_by_itself(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey, abort_deferred_pause_grace=20):
        await opened(house, client)
        await client.set_autostart(enable=True)
        await client.add_items([COUNT, COUNT])
        order = await house.orders.get()

        aborting = asyncio.create_task(client.abort(now=True))
        await client.wait(lambda status: status.queue_stop_pending)
        await house.finished(order)

        assert await aborting == ["deferred_pause"]
        status = await client.wait("idle")
        assert (status.items_in_queue, status.items_in_history) == (1, 1)
        assert not status.queue_autostart_enabled


async def test_what_an_environment_is_made_of_is_told_when_it_opens_and_kept(nats, valkey, house, client) -> None:
    facts = EnvironmentFacts(python="3.12.1", executable="/opt/python", versions={"bluesky": "1.15"})
    async with queue_service(nats, valkey):
        await client.wait("idle")
        opening = asyncio.create_task(client.open_environment())
        await client.wait(lambda status: status.manager_state == "creating_environment")
        await house.opened(facts)

        assert await opening == facts
        while not (kept := await client.environment()):
            await asyncio.sleep(0.01)  # there is no event for it
        assert (kept.state, kept.facts) == ("opened", facts)
