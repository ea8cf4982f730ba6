"""An environment runs scripts and functions besides plans, whatever they do, and reports each."""

import asyncio
import base64
import tempfile
import zlib
from pathlib import Path

import orjson
import pytest
import yaml

from skybus.bus.api.internal import (
    ENGINE_METADATA,
    ENVIRONMENT_CATALOG,
    ENVIRONMENT_END,
    PLAN_CONTINUE,
    PLAN_RUN,
    CatalogPart,
    EnvironmentPhase,
    PlanContinue,
    PlanRun,
)
from skybus.bus.errors import SkybusError, WrongStateError
from skybus.bus.messages import Empty
from tests.integration.worker_fixtures import (
    House,
    WorkerProcess,
    function,
    house_of,
    open_environment,
    plan,
    script,
    serving,
)

NEW_PLAN = "def new_plan(number=2):\n    yield from bps.null()\n    return number\n"


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="sky") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def worker(folder):
    """One environment for all tests of this module: none of them may harm it."""
    worker = WorkerProcess(
        folder,
        SKYBUS_SPARE="0",
        SKYBUS_IGNORE_INVALID_PLANS="false",
        SKYBUS_PERMITTED_RE_METADATA_KEYS="/shown:/versions/bluesky",
        SKYBUS_EXISTING_PLANS_AND_DEVICES=str(folder),
        SKYBUS_UPDATE_EXISTING_PLANS_DEVICES="ALWAYS",
    )
    with serving(worker) as nats:
        asyncio.run(open_environment(nats))
        yield nats


@pytest.fixture
async def house(worker):
    async with house_of(worker) as house:
        yield house
        state = await house.state()
        assert (state.phase, state.task_uid, state.background_tasks) == (EnvironmentPhase.IDLE, None, 0)


async def plans_of(house: House) -> set[str]:
    part = await house.bus.call(ENVIRONMENT_CATALOG, CatalogPart())
    assert part.catalog_uid == (await house.state()).catalog_uid
    return set(orjson.loads(zlib.decompress(base64.b64decode(part.data)))["plans"])


@pytest.mark.parametrize("background", [False, True])
async def test_a_function_is_reported_with_what_it_returns(house, background):
    uid = await house.start_task(function("add", 1, b=2.5), background=background)
    report = await house.task_report(uid)

    assert (report["success"], report["return_value"], report["msg"]) == (True, 3.5, "")
    assert report["run_in_background"] is background
    assert report["time_stop"] >= report["time_start"]
    await house.until_text("adding 1 and 2.5")
    state = next(state for state in house.states if state.task_uid == uid or state.background_tasks)
    assert state.phase == ("idle" if background else "executing_task")
    assert state.background_tasks == int(background)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (function("no_such_function"), "Function 'no_such_function' is not found in the worker namespace"),
        (function("leave", "exit"), "is a generator function"),
        (function("add", 1), "missing 1 required positional argument"),
        (function("give", "set"), "Task result can not be serialized as JSON"),
        (script("import sys; sys.exit(4)"), "Failed to execute stript: 4"),
    ],
    ids=["missing", "plan", "arguments", "set", "exit"],
)
@pytest.mark.parametrize("background", [False, True])
async def test_a_failed_task_is_reported_and_the_next_one_runs(house, task, reason, background):
    report = await house.finish_task(task, background=background)

    assert (report["success"], report["return_value"]) == (False, None)
    assert reason in report["msg"]
    assert report["traceback"].startswith("Traceback")
    assert (await house.finish_task(function("add", 1, 2)))["return_value"] == 3


async def test_a_task_is_run_once_however_often_it_is_asked_for(house):
    task = function("wait")
    uid = await house.start_task(task)
    await house.until_text("waiting")
    again = await house.run_task(uid, task)
    await house.finish_task(function("release"), background=True)
    report = await house.task_report(uid)
    after = await house.run_task(uid, task)

    assert (again.outcome, after.outcome) == ("running", "finished")
    assert again.time_start == after.time_start == report["time_start"]
    assert house.text().count("waiting") == 1


async def test_while_a_task_runs_only_background_tasks_begin(house):
    uid = await house.start_task(function("wait"))
    await house.until_text("waiting")

    for refused in (
        house.run_task("other", function("add", 1, 2)),
        house.bus.call(PLAN_RUN, PlanRun(attempt="other", item=plan("steps", 1))),
        house.bus.call(ENVIRONMENT_END, Empty()),
    ):
        with pytest.raises(WrongStateError, match="executing_task"):
            await refused

    await house.finish_task(function("release"), background=True)
    assert (await house.task_report(uid))["return_value"] == "released"


async def test_while_a_plan_runs_or_is_paused_only_background_tasks_begin(house):
    attempt = await house.start(plan("steps", 1000))
    await house.until_text("step 0")

    with pytest.raises(WrongStateError, match="executing_plan"):
        await house.run_task("other", function("add", 1, 2))
    assert (await house.finish_task(script("RE.request_pause(False)"), background=True))["success"]
    await house.until_state(lambda state: state.re_state == "paused" and state.phase == "idle")
    with pytest.raises(WrongStateError, match="paused"):
        await house.run_task("other", function("add", 1, 2))
    assert (await house.finish_task(function("add", 1, 2), background=True))["return_value"] == 3

    await house.bus.call(PLAN_CONTINUE, PlanContinue(action="abort"))
    await house.life.report("report", attempt=attempt)


async def test_what_a_script_defines_is_in_the_catalogue_and_runs(house, folder):
    before = (await house.state()).catalog_uid
    report = await house.finish_task(script(NEW_PLAN))

    assert report["success"], report
    assert (await house.state()).catalog_uid != before
    assert "new_plan" in await plans_of(house)
    assert (await house.finish(plan("new_plan", number=7)))["return_value"] == 7
    saved = yaml.safe_load((folder / "existing_plans_and_devices.yaml").read_text())
    assert "new_plan" in saved["existing_plans"]

    await house.finish_task(script("del new_plan"))
    assert "new_plan" not in await plans_of(house)


async def test_without_an_update_the_catalogue_stays_until_it_is_asked_for(house):
    before = (await house.state()).catalog_uid
    await house.finish_task(script(NEW_PLAN, update_lists=False))
    assert (await house.state()).catalog_uid == before

    await house.finish_task(script("", update_re=True), background=True)
    assert "new_plan" in await plans_of(house)
    await house.finish_task(script("del new_plan"))


@pytest.mark.parametrize("failure", ["raise RuntimeError('no')", "def bad(a=object()):\n    yield"])
async def test_a_script_that_fails_leaves_the_catalogue_as_it_was(house, failure):
    before = await house.state()
    report = await house.finish_task(script(f"{NEW_PLAN}{failure}\n"))

    assert not report["success"]
    assert (await house.state()).catalog_uid == before.catalog_uid
    assert "new_plan" not in await plans_of(house)
    await house.finish_task(script("del new_plan\nglobals().pop('bad', None)"))


async def test_a_script_may_replace_the_run_engine_if_it_is_allowed_to(house):
    other = "from bluesky import RunEngine\nkept, RE = RE, RunEngine({'shown': 'other'})"
    await house.finish_task(script(other))
    assert (await house.finish_task(script("assert RE is kept")))["success"]

    await house.finish_task(script(other, update_re=True))
    assert (await house.bus.call(ENGINE_METADATA, Empty())).re_metadata["shown"] == "other"
    assert (await house.finish(plan("count", ["det"])))["scan_ids"] == [1]

    await house.finish_task(script("RE = 'junk'", update_re=True))
    state = await house.state()
    assert (state.has_engine, state.re_state) == (False, None)
    with pytest.raises(WrongStateError, match="Run Engine does not exist in worker environment"):
        await house.bus.call(ENGINE_METADATA, Empty())

    await house.finish_task(script("RE = kept", update_re=True))
    state = await house.state()
    assert (state.has_engine, state.re_state) == (True, "idle")


async def test_metadata_is_told_as_far_as_it_may_be_shown(house):
    await house.finish_task(script("RE.md.update(shown={'a': (1, 2)}, hidden=object())", update_lists=False))
    metadata = (await house.bus.call(ENGINE_METADATA, Empty())).re_metadata

    assert metadata["shown"] == {"a": [1, 2]}
    assert set(metadata) == {"shown", "versions"}
    assert set(metadata["versions"]) == {"bluesky"}

    await house.finish_task(script("RE.md['shown'] = object()", update_lists=False))
    with pytest.raises(SkybusError, match="Failed to serialize RE metadata with JSON"):
        await house.bus.call(ENGINE_METADATA, Empty())
    await house.finish_task(script("del RE.md['shown'], RE.md['hidden']", update_lists=False))
