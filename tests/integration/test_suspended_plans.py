"""While suspenders hold a plan, everybody is told which, since when and why; pause and abort work at once."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skybus.bus.api.engine import Suspended
from skybus.bus.api.internal import (
    PLAN_ABORT,
    PLAN_CONTINUE,
    PLAN_PAUSE,
    EnvironmentPhase,
    PlanContinue,
    PlanPause,
)
from skybus.bus.messages import Empty
from tests.integration.worker_fixtures import (
    House,
    Seen,
    function,
    house_of,
    one_environment,
    plan,
)

STARTUP = Path(__file__).with_name("startup_for_hooks")
CLOSED, LOW = "SuspendBoolHigh(shutter)", "SuspendFloor(current)"


@pytest.fixture(scope="module")
def servers():
    with one_environment(SKYBUS_STARTUP_DIR=str(STARTUP)) as nats:
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        yield house
        state = await house.state()
        assert (state.phase, state.attempt, state.suspended) == (EnvironmentPhase.IDLE, None, None)


async def call(house: House, name: str, *args: Any) -> None:
    """Call a function of the startup code, also while a plan runs."""
    report = await house.finish_task(function(name, *args), background=True)
    assert report["success"], report


async def held_by(house: House, *names: str) -> Suspended:
    """Wait until these suspenders, and no others, hold the plan."""
    state = await house.until_state(lambda state: bool(state.suspended and state.suspended.by == list(names)))
    assert state.re_state == "running"
    assert state.suspended
    return state.suspended


async def paused(house: House) -> None:
    state = await house.until_state(lambda state: state.re_state == "paused" and state.phase == "idle")
    assert state.suspended is None


@asynccontextmanager
async def suspended(house: House, *suspenders: str) -> AsyncIterator[str]:
    """Run a plan, and have a suspender hold it between its two checkpoints; the shutter is opened in the end."""
    await call(house, "install", *(suspenders or ["closed"]))
    await call(house, "let_end", False)
    attempt = await house.start(plan("with_checkpoint"))
    await house.until_text("begun")
    await call(house, "set_signal", "shutter", 1)
    await held_by(house, CLOSED)
    await call(house, "let_end")
    try:
        yield attempt
    finally:
        await call(house, "set_signal", "shutter", 0)


async def test_a_suspended_plan_is_told_with_suspender_time_and_justification(house, servers):
    seen, begin = Seen(), time.time()
    async with servers.bus("operator") as people:
        await people.subscribe(people.subjects.event("progress.>"), seen.take)
        await people.settle()
        async with suspended(house) as attempt:
            now = (await house.state()).suspended
            assert now
            assert begin <= now.since <= time.time()
            assert now.justification == "Signal shutter is high: the hutch is open"
            await seen.until(lambda _: any(body["suspended"] == now.model_dump() for body in seen.bodies()))
        report = await house.life.report("report", attempt=attempt)
        await seen.until(lambda _: seen.bodies()[-1]["suspended"] is None)

    assert (report["exit_status"], report["return_value"]) == ("completed", "measured")


@pytest.mark.parametrize("option", ["deferred", "immediate"])
@pytest.mark.parametrize("action", ["resume", "stop", "abort", "halt"])
async def test_a_suspended_plan_is_paused_at_once_and_can_be_ended_or_resumed(house, option, action):
    async with suspended(house) as attempt:
        await house.bus.call(PLAN_PAUSE, PlanPause.model_validate({"option": option}))
        await paused(house)
        await house.bus.call(PLAN_CONTINUE, PlanContinue.model_validate({"action": action}))
        if action == "resume":  # the hutch is still open
            await held_by(house, CLOSED)
    report = await house.life.report("report", attempt=attempt)
    ends = {"resume": "completed", "stop": "stopped", "abort": "aborted", "halt": "halted"}
    assert report["exit_status"] == ends[action]


async def test_a_resumed_plan_goes_on_if_its_suspender_was_removed_meanwhile(house):
    async with suspended(house) as attempt:
        await house.bus.call(PLAN_PAUSE, PlanPause(option="deferred"))
        await paused(house)
        await call(house, "install")
        await house.bus.call(PLAN_CONTINUE, PlanContinue(action="resume"))
        assert (await house.life.report("report", attempt=attempt))["exit_status"] == "completed"


async def test_a_suspended_plan_can_be_aborted(house):
    async with suspended(house) as attempt:
        await house.bus.call(PLAN_ABORT, Empty())
        assert (await house.life.report("report", attempt=attempt))["exit_status"] == "aborted"


async def test_a_pause_that_was_asked_for_before_the_plan_is_held_comes_at_once(house):
    await call(house, "install", "closed")
    await call(house, "let_end", False)
    attempt = await house.start(plan("pausing_itself"))
    await paused(house)
    await call(house, "let_end")
    await call(house, "set_signal", "shutter", 0)
    await house.bus.call(PLAN_CONTINUE, PlanContinue(action="resume"))
    assert (await house.life.report("report", attempt=attempt))["exit_status"] == "completed"


async def test_several_suspenders_hold_a_plan_until_the_last_lets_go(house):
    async with suspended(house, "closed", "low") as attempt:
        await call(house, "set_signal", "current", 300)
        await held_by(house, CLOSED, LOW)
    await held_by(house, LOW)
    assert not [body for body in house.life.bodies() if body.get("attempt") == attempt]
    await call(house, "set_signal", "current", 500)
    assert (await house.life.report("report", attempt=attempt))["return_value"] == "measured"


async def test_a_suspender_that_waits_after_recovery_holds_the_plan_as_long(house):
    async with suspended(house, "slow") as attempt:
        recovered = time.monotonic()
    await house.until_state(lambda state: state.suspended is None)
    assert time.monotonic() - recovered >= 0.3
    assert (await house.life.report("report", attempt=attempt))["exit_status"] == "completed"


async def test_pre_and_post_plan_of_a_suspender_run_around_the_hold(house):
    async with suspended(house, "around") as attempt:
        await house.until_text("before\n")
        assert "after\n" not in house.text()
    await house.life.report("report", attempt=attempt)
    await house.until_text("after\n")


async def test_a_suspender_that_has_tripped_before_holds_the_plan_at_its_beginning(house):
    await call(house, "install", "closed", "low")
    await call(house, "set_signal", "shutter", 1)
    await call(house, "set_signal", "current", 300)
    attempt = await house.start(plan("count", ["det"]))
    state = await house.until_state(lambda state: bool(state.suspended and len(state.suspended.by) == 2))
    assert state.suspended
    assert set(state.suspended.by) == {CLOSED, LOW}
    assert "the hutch is open" in state.suspended.justification
    await house.bus.call(PLAN_PAUSE, PlanPause(option="deferred"))
    await paused(house)
    await house.bus.call(PLAN_CONTINUE, PlanContinue(action="resume"))
    await house.until_state(lambda state: bool(state.suspended and len(state.suspended.by) == 2))
    await call(house, "set_signal", "shutter", 0)
    await held_by(house, LOW)
    await call(house, "set_signal", "current", 500)
    assert (await house.life.report("report", attempt=attempt))["exit_status"] == "completed"


async def test_a_suspender_that_the_plan_installs_is_told_too(house):
    await call(house, "install")
    await call(house, "let_end", False)
    await call(house, "set_signal", "shutter", 1)
    attempt = await house.start(plan("with_own_suspender"))
    await held_by(house, CLOSED)
    await call(house, "let_end")
    await call(house, "set_signal", "shutter", 0)
    assert (await house.life.report("report", attempt=attempt))["return_value"] == "measured"


async def test_user_code_that_holds_a_plan_itself_is_told_by_its_justification(house):
    await call(house, "install")
    await call(house, "let_end", False)
    attempt = await house.start(plan("held_by_hand"))
    assert (await held_by(house)).justification == "half a character: ?"
    await call(house, "let_end")
    await call(house, "release")
    assert (await house.life.report("report", attempt=attempt))["return_value"] == "measured"
