"""An environment runs plans, whatever they do, and tells everything about it."""

import asyncio
import base64
import json
import math
import uuid
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest

from skybus.bus.api.internal import (
    ENVIRONMENT_CATALOG,
    PLAN_ABORT,
    PLAN_CONTINUE,
    PLAN_PAUSE,
    PLAN_RUN,
    CatalogPart,
    EnvironmentPhase,
    PlanAccepted,
    PlanContinue,
    PlanPause,
    PlanRun,
)
from skybus.bus.api.progress import KEPT_PROGRESS, PlanProgress
from skybus.bus.errors import WrongStateError
from skybus.bus.messages import Empty
from skybus.bus.streams import ensure_bucket
from skybus.client.events import last_value
from skybus.worker.environment.documents import to_json
from skybus.worker.environment.progress import planned_points
from tests.integration.worker_fixtures import (
    House,
    Seen,
    gate_in,
    house_of,
    one_environment,
    open_gate,
    plan,
    script,
    stored,
)
from tests.promises import PATIENCE


@pytest.fixture(scope="module")
def servers():
    with one_environment() as nats:
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        yield house
        state = await house.state()
        assert (state.phase, state.attempt) == (EnvironmentPhase.IDLE, None)


async def pause(house: House, option: str) -> None:
    await house.bus.call(PLAN_PAUSE, PlanPause.model_validate({"option": option}))
    await house.until_state(lambda state: state.re_state == "paused" and state.phase == "idle")


async def go_on(house: House, action: str) -> None:
    await house.bus.call(PLAN_CONTINUE, PlanContinue.model_validate({"action": action}))


async def test_a_plan_is_reported_with_its_runs(house):
    item = plan("count", ["det"], num=3)
    report = await house.finish(item)

    assert report["exit_status"] == "completed"
    assert report["item_uid"] == item["item_uid"]
    assert len(report["run_uids"]) == len(report["scan_ids"]) == 1
    assert report["return_value"] == report["run_uids"][0]
    assert report["time_stop"] > report["time_start"]


async def test_its_documents_are_in_the_stream_below_their_run(house):
    report = await house.finish(plan("count", ["det"], num=2))
    run = report["run_uids"][0]

    await house.documents_of(run)
    documents = [message for message in await stored(house.bus, "DOCS_sim") if str(message.subject).endswith(run)]

    names = [str(message.subject).split(".")[3] for message in documents]
    assert names == ["start", "descriptor", "event", "event", "stop"]
    assert orjson.loads(documents[-1].data or b"")["num_events"] == {"primary": 2}


async def test_the_start_document_has_the_items_metadata_and_who_ran_it(house):
    item = plan("count", ["det"]) | {"meta": [{"sample": "iron"}, {"sample": "gold", "skybus": "forged", "a": 1}]}
    attempt = await house.start(item)
    report = await house.life.report("report", attempt=attempt)

    start = orjson.loads((await house.documents_of(report["run_uids"][0]))[0].data)

    assert (start["sample"], start["a"]) == ("iron", 1)
    assert start["skybus"] == {
        "item_uid": item["item_uid"],
        "attempt": attempt,
        "user": "ada",
        "user_group": "primary",
    }


async def test_an_attempt_is_run_once_however_often_it_is_asked_for(house):
    attempt, item = str(uuid.uuid4()), plan("steps", 10)
    assert await house.run(attempt, item) == PlanAccepted(outcome="started")
    await house.until_text("step 0")
    await pause(house, "immediate")
    assert await house.run(attempt, item) == PlanAccepted(outcome="running")
    await go_on(house, "stop")
    await house.life.report("report", attempt=attempt)

    assert await house.run(attempt, item) == PlanAccepted(outcome="finished")
    assert (await house.text_of(item, "Stopping")).count("step 0") == 1


async def test_a_busy_environment_refuses_another_plan(house):
    attempt = await house.start(plan("steps", 1000))
    await house.until_text("step 0")

    with pytest.raises(WrongStateError, match="executing_plan"):
        await house.bus.call(PLAN_RUN, PlanRun(attempt="other", item=plan("steps", 1)))

    await pause(house, "immediate")
    with pytest.raises(WrongStateError, match="paused"):
        await house.bus.call(PLAN_RUN, PlanRun(attempt="other", item=plan("steps", 1)))
    await go_on(house, "abort")
    await house.life.report("report", attempt=attempt)


async def test_states_are_pushed_in_order_of_their_revision(house):
    report = await house.finish(plan("count", ["det"], num=2, delay=0.5))
    await house.until_state(lambda state: state.attempt == report["attempt"])
    await house.until_state(lambda state: state.attempt is None)

    assert all(b.revision == a.revision + 1 for a, b in pairwise(house.states))
    mine = [state for state in house.states if state.attempt == report["attempt"]]
    assert mine[0].phase == "executing_plan"
    assert (True, None) in [(run.is_open, run.exit_status) for state in mine for run in state.runs]
    assert len({state.run_list_uid for state in house.states}) >= 3


async def test_runs_that_follow_each_other_at_once_are_told_together(house):
    report = await house.finish(plan("runs_in_a_row", 20))
    await house.until_state(lambda state: state.attempt is None)
    lists = {state.run_list_uid: state.runs for state in house.states if state.attempt == report["attempt"]}
    assert len(lists) < 20
    assert [(run.is_open, run.exit_status) for run in list(lists.values())[-1]] == [(False, "success")] * 20


@pytest.mark.parametrize("option", ["deferred", "immediate"])
async def test_a_paused_plan_can_be_resumed(house, option):
    item = plan("steps", 20)
    attempt = await house.start(item)
    await house.until_text("step 2")
    await pause(house, option)

    await go_on(house, "resume")

    report = await house.life.report("report", attempt=attempt)
    assert (report["exit_status"], report["return_value"]) == ("completed", 20)
    assert await house.text_of(item, "step 19")


@pytest.mark.parametrize(("action", "exit_status"), [("stop", "stopped"), ("abort", "aborted"), ("halt", "halted")])
async def test_a_paused_plan_can_be_ended(house, action, exit_status):
    attempt = await house.start(plan("steps", 1000))
    await house.until_text("step 1")
    await pause(house, "deferred")

    await go_on(house, action)

    report = await house.life.report("report", attempt=attempt)
    assert report["exit_status"] == exit_status


async def test_a_pause_asked_for_behind_the_last_checkpoint_does_not_stop_the_plan(house, tmp_path):
    gate = gate_in(tmp_path)
    attempt = await house.start(plan("past_checkpoint", str(gate)))
    await house.until_text("past the checkpoint")
    await house.bus.call(PLAN_PAUSE, PlanPause(option="deferred"))

    await open_gate(gate)
    report = await house.life.report("report", attempt=attempt)

    assert report["exit_status"] == "completed"
    assert report["pause_pending"] is True


async def test_a_plan_that_cannot_be_paused_fails_with_the_reason(house):
    attempt = await house.start(plan("no_checkpoint"))
    await house.until_text("no way back")
    await house.bus.call(PLAN_PAUSE, PlanPause(option="immediate"))

    report = await house.life.report("report", attempt=attempt)

    assert report["exit_status"] == "failed"
    assert "no checkpoint" in report["msg"]


async def test_a_pause_that_the_run_engine_refuses_is_refused(house):
    refusing = "async def refuse(defer): raise RuntimeError('it is over')\nRE._request_pause_coro = refuse"
    await house.finish_task(script(refusing, update_lists=False))
    attempt = await house.start(plan("steps", 1000))
    await house.until_text("step 1")

    with pytest.raises(WrongStateError, match="it is over"):
        await house.bus.call(PLAN_PAUSE, PlanPause(option="deferred"))

    await house.bus.call(PLAN_ABORT, Empty())
    assert (await house.life.report("report", attempt=attempt))["exit_status"] == "aborted"
    await house.finish_task(script("del RE._request_pause_coro", update_lists=False))


async def test_an_idle_environment_refuses_pause_and_resume(house):
    with pytest.raises(WrongStateError, match="only in 'running' state"):
        await house.bus.call(PLAN_PAUSE, PlanPause(option="deferred"))
    with pytest.raises(WrongStateError, match="must be in 'paused' state"):
        await go_on(house, "resume")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (plan("leave", "exit"), r"SystemExit(bye)"),
        (plan("leave", "interrupt"), r"KeyboardInterrupt(bye)"),
        (plan("leave", "base"), r"BaseException(bye)"),
        (plan("leave_by_device"), "from a device"),
        (plan("count", ["det"], nonsense=1), "unexpected keyword argument"),
        (plan("no_such_plan"), "'no_such_plan' is not allowed or does not exist"),
        (plan("surrogate"), "half a character: ?"),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
async def test_a_failed_plan_is_reported_and_the_next_one_runs(house, item, reason):
    report = await house.finish(item)

    assert report["exit_status"] == "failed"
    assert reason in report["msg"]
    assert "Traceback" in report["traceback"]
    assert (await house.finish(plan("count", ["det"])))["exit_status"] == "completed"


async def test_the_return_value_of_a_plan_is_in_its_report(house):
    assert (await house.finish(plan("returns_numbers")))["return_value"] == {"a": [1, 2.5]}


async def test_output_of_python_c_and_children_keeps_its_order_and_carries_the_item(house):
    item = plan("talk")
    await house.finish(item)

    assert await house.text_of(item, "four\n") == "one\ntwo\nthree\nfour\n"
    subjects = {message.subject for message in house.console.messages if message.data == b"one\n"}
    assert subjects <= {f"sky.sim.evt.console.worker.{item['item_uid']}"}


async def test_no_line_of_a_burst_is_lost(house):
    item = plan("say", "line", number=5000)
    await house.finish(item)

    assert await house.text_of(item, "line 4999\n") == "".join(f"line {n}\n" for n in range(5000))


async def test_output_of_one_plan_is_never_given_to_the_next(house):
    items = [plan("say", f"plan {n}") for n in range(5)]
    for item in items:
        await house.finish(item)

    assert await house.text_of(items[-1], "plan 4 0\n")
    assert [house.text(item["item_uid"]) for item in items] == [f"plan {n} 0\n" for n in range(5)]


async def test_progress_is_told_to_people(house, servers):
    seen, item = Seen(), plan("count", ["det"], num=4)
    async with servers.bus("operator") as people:
        await people.subscribe(people.subjects.event("progress.>"), seen.take)
        await people.settle()
        await house.finish(item)
        last = await seen.until(lambda _: (bodies := seen.bodies()) and bodies[-1]["done"] == 4 and bodies[-1])

    assert (last["item_uid"], last["planned"], last["fraction"]) == (item["item_uid"], 4, 1.0)


async def test_what_a_plan_waits_for_is_told_and_the_last_progress_is_kept(house, servers):
    await ensure_bucket(house.bus.jetstream, house.bus.subjects.state_bucket)
    seen, item = Seen(), plan("move_twice")
    async with servers.bus("operator") as people:
        await people.subscribe(people.subjects.event("progress.>"), seen.take)
        await people.settle()
        await house.finish(item)
        await seen.until(lambda _: (bodies := seen.bodies()) and not bodies[-1]["moves"])

        moves = [move for body in seen.bodies() for move in body["moves"]]
        assert {(move["name"], move["unit"], move["target"]) for move in moves} == {
            ("axis", "mm", 3.0),
            ("axis", "mm", 1.0),
        }
        there = [move["fraction"] for move in moves if move["target"] == 3.0]
        assert there == sorted(there)
        assert any(0 < fraction < 1 for fraction in there)
        async with asyncio.timeout(PATIENCE):
            while (last := await last_value(people, KEPT_PROGRESS, PlanProgress)) is None or last.moves:
                await asyncio.sleep(0.01)  # there is no event for it
        assert last.item_uid == item["item_uid"]


def test_a_start_document_may_say_how_many_points_there_will_be():
    assert planned_points({"num_points": 4}) == 4
    assert planned_points({"shape": [2, 3]}) == 6
    assert planned_points({"num_points": None}) is None


async def test_a_document_larger_than_a_message_comes_compressed(house):
    report = await house.finish(plan("big_run", 5))

    start = (await house.documents_of(report["run_uids"][0]))[0]

    assert start.headers
    assert start.headers["Sky-Encoding"] == "zlib"
    assert len(orjson.loads(zlib.decompress(start.data))["text"]) == 5 << 20


async def test_the_catalogue_can_be_read(house):
    part = await house.bus.call(ENVIRONMENT_CATALOG, CatalogPart())
    catalogue = orjson.loads(zlib.decompress(base64.b64decode(part.data)))

    assert part.parts == 1
    assert part.catalog_uid == (await house.state()).catalog_uid
    assert {"count", "steps", "talk"} <= set(catalogue["plans"])
    assert "det" in catalogue["devices"]


def test_documents_become_json_whatever_is_in_them():
    document = {
        "image": np.arange(4, dtype=np.uint16).reshape(2, 2),
        "number": np.float32(0.5),
        "nan": float("nan"),
        "complex": 1 + 2j,
        "set": {3},
        "path": Path("/a"),
        5: "key",
    }
    written = json.loads(to_json(document))
    assert math.isnan(written.pop("nan"))
    assert written == {
        "image": [[0, 1], [2, 3]],
        "number": 0.5,
        "complex": [1.0, 2.0],
        "set": [3],
        "path": "/a",
        "5": "key",
    }
    assert json.loads(to_json({"large": 1 << 70, "inf": float("inf")})) == {"large": 1 << 70, "inf": math.inf}
