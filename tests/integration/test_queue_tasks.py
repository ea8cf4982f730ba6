"""Tasks of the queue service on real NATS and Valkey: begun, filed, kept, and what happens when something dies."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from skybus.bus.api.events import TaskChanged
from skybus.bus.api.internal import ENVIRONMENT_STATE_TOPIC, FunctionTask, ScriptTask
from skybus.bus.api.tasks import (
    ENVIRONMENT_UPDATE,
    FUNCTION_EXECUTE,
    SCRIPT_UPLOAD,
    TASK_RESULT,
    TASK_STATUS,
    EnvironmentUpdate,
    FunctionExecute,
    FunctionSpec,
    ScriptUpload,
    TaskResult,
    TaskResultGet,
    TaskStatusGet,
)
from skybus.bus.errors import NotFoundError, WrongStateError
from skybus.client.client import Client
from skybus.client.task_calls import TaskFailedError
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, opened, queue_service
from tests.promises import PATIENCE

__all__ = ["client", "house"]

SCRIPT = ScriptUpload(script="x = 1", update_lists=False)
BESIDE = ScriptUpload(script="x = 1", update_lists=False, run_in_background=True)


async def result_of(client: Client, uid: str) -> TaskResult:
    return await client.call(TASK_RESULT, TaskResultGet(task_uid=uid))


async def test_a_script_occupies_the_manager_until_it_is_done(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        uid = (await client.call(SCRIPT_UPLOAD, SCRIPT)).task_uid
        order = await house.tasks.get()
        assert (order.task_uid, order.task) == (uid, ScriptTask(script="x = 1", update_lists=False, update_re=False))
        before = await client.status()
        assert before.manager_state == "executing_task"
        running = await result_of(client, uid)
        assert (running.status, set(running.result)) == ("running", {"task_uid", "time_start", "run_in_background"})
        with pytest.raises(WrongStateError, match="must be in idle state. Current state: 'executing_task'"):
            await client.call(SCRIPT_UPLOAD, SCRIPT)
        with pytest.raises(WrongStateError, match="Foreground task"):
            await client.close_environment()
        await house.task_done(order, return_value=[1, {"a": None}])
        after = await client.wait("idle")
        assert after.task_results_uid != before.task_results_uid
        done = await result_of(client, uid)
        assert (done.status, done.result["return_value"]) == ("completed", [1, {"a": None}])


async def test_the_catalogue_is_known_before_a_task_that_changes_it_counts_as_done(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        known = (await client.status()).plans_allowed_uid
        for endpoint, request, changes in (
            (SCRIPT_UPLOAD, SCRIPT, False),
            (ENVIRONMENT_UPDATE, EnvironmentUpdate(), True),
            (SCRIPT_UPLOAD, ScriptUpload(script=""), True),
        ):
            await client.call(endpoint, request)
            await house.task_done(await house.tasks.get())
            status = await client.wait("idle")
            assert (status.plans_allowed_uid != known) == changes
            known = status.plans_allowed_uid


async def test_functions_run_beside_each_other_and_are_told_of_by_events(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey), aclosing(client.events("task.>")) as events:
        following = asyncio.create_task(anext(events))
        await opened(house, client)
        request = FunctionExecute(
            item=FunctionSpec(item_type="function", name="f", args=[1], kwargs={"a": 2}), run_in_background=True
        )
        first, second = [await client.call(FUNCTION_EXECUTE, request) for _ in range(2)]
        order = await house.tasks.get()
        assert first.item["item_uid"] == first.task_uid == order.task_uid != second.task_uid
        assert order.task == FunctionTask(name="f", args=[1], kwargs={"a": 2})
        assert (await client.status()).manager_state == "idle"
        await house.task_done(order, success=False, msg="it failed")
        said = [(await following).read(TaskChanged)] + [(await anext(events)).read(TaskChanged) for _ in range(2)]
        assert [change.state for change in said] == ["running", "running", "completed"]
        assert said[-1] == TaskChanged(task_uid=first.task_uid, state="completed", success=False, msg="it failed")
        uids = [first.task_uid, second.task_uid, "?"]
        statuses = (await client.call(TASK_STATUS, TaskStatusGet(task_uids=uids))).statuses
        assert statuses == dict(zip(uids, ("completed", "running", "not_found"), strict=True))


async def test_who_waits_for_a_task_gets_what_it_has_returned_or_why_it_failed(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        uids = [await client.run_function("f", [number], in_background=True) for number in range(2)]
        waiting = [asyncio.create_task(client.wait_task(uid)) for uid in uids]
        orders = [await house.tasks.get() for _ in uids]
        with pytest.raises(TimeoutError, match=f"{uids[0]} was not over within 0.01 s"):
            await client.wait_task(uids[0], timeout=0.01)
        await house.task_done(orders[1], success=False, msg="it failed", traceback="here")
        with pytest.raises(TaskFailedError, match="it failed") as failure:
            await waiting[1]
        assert failure.value.details == {"traceback": "here"}
        await house.task_done(orders[0], return_value=[1, 2])
        assert await waiting[0] == [1, 2]
        assert await client.wait_task(uids[0]) == [1, 2]
        with pytest.raises(NotFoundError, match="no task nobody"):
            await client.wait_task("nobody")


async def test_what_the_environment_refuses_was_never_begun(nats, valkey, house: StandIns, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        house.refuses_task = WrongStateError("the kernel is busy")
        with pytest.raises(WrongStateError, match="the kernel is busy"):
            await client.call(SCRIPT_UPLOAD, SCRIPT)
        assert (await client.status()).manager_state == "idle"
        house.refuses_task = None
        await client.call(SCRIPT_UPLOAD, SCRIPT)


async def test_a_task_that_is_not_confirmed_is_ordered_again(nats, valkey, house: StandIns, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        house.answers_task = False
        uid = (await client.call(SCRIPT_UPLOAD, SCRIPT)).task_uid
        first, again = await house.tasks.get(), await house.tasks.get()
        assert first == again
        house.answers_task = True
        await house.task_done(first)
        await house.task_done(first)  # a report that is delivered twice
        await client.wait("idle")
        following = (await client.call(SCRIPT_UPLOAD, SCRIPT)).task_uid
        while (second := await house.tasks.get()) == first:
            pass
        await house.task_done(second)
        await client.wait("idle")
        assert [(await result_of(client, one)).status for one in (uid, following)] == ["completed"] * 2


async def test_tasks_and_results_outlive_the_queue_service(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        beside = (await client.call(SCRIPT_UPLOAD, BESIDE)).task_uid
        await house.task_done(await house.tasks.get(), return_value=7)
        foreground = (await client.call(SCRIPT_UPLOAD, SCRIPT)).task_uid
        order = await house.tasks.get()
        await client.wait(lambda status: status.manager_state == "executing_task")
        waiting = asyncio.create_task(client.wait_task(foreground))
    async with queue_service(nats, valkey):
        await client.wait(lambda status: status.manager_state == "executing_task")
        assert (await result_of(client, beside)).result["return_value"] == 7
        await house.task_done(order, return_value=8)
        await client.wait("idle")
        assert await waiting == 8


async def test_a_task_that_ended_while_nobody_listened_is_filed(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        uid = (await client.call(SCRIPT_UPLOAD, SCRIPT)).task_uid
        order = await house.tasks.get()
    await house.task_done(order)
    async with queue_service(nats, valkey):
        await client.wait("idle")
        assert (await result_of(client, uid)).status == "completed"


async def test_tasks_of_an_environment_that_is_gone_have_failed(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        uids = [(await client.call(SCRIPT_UPLOAD, request)).task_uid for request in (BESIDE, SCRIPT)]
        await house.exited()
        await client.wait(lambda status: not status.worker_environment_exists and status.manager_state == "idle")
        for uid in uids:
            done = await result_of(client, uid)
            assert (done.status, done.result["success"], done.result["msg"]) == ("completed", False, "killed by a test")


async def test_results_are_forgotten_after_their_time(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey, task_result_retention=1):
        await opened(house, client)
        uid = (await client.call(SCRIPT_UPLOAD, BESIDE)).task_uid
        await house.task_done(await house.tasks.get())
        async with asyncio.timeout(PATIENCE):
            while (await result_of(client, uid)).status != "not_found":  # Redis tells nobody
                await asyncio.sleep(0.1)


async def test_autostart_waits_for_the_task_and_for_a_run_engine(nats, valkey, house: StandIns, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        assert house.state
        house.state = house.state.model_copy(update={"revision": 2, "has_engine": False})
        await house.environment.publish(house.environment.subjects.internal(ENVIRONMENT_STATE_TOPIC), house.state)
        await client.set_autostart(enable=True)
        await client.add_item(COUNT)
        await client.call(SCRIPT_UPLOAD, ScriptUpload(script="RE = RunEngine()", update_re=True))
        order = await house.tasks.get()
        assert house.orders.empty()
        house.state = house.state.model_copy(update={"revision": 3, "has_engine": True})
        await house.task_done(order)
        await house.finished(await house.orders.get())
        await client.wait("queue_drained")
