"""A question that nobody can answer is an error that names it, not an empty answer."""

from pathlib import Path

import pytest

from tests.integration.worker_fixtures import (
    function,
    house_of,
    one_environment,
    plan,
    script,
)

STARTUP = Path(__file__).with_name("startup_for_hooks")


@pytest.fixture(scope="module")
def servers():
    with one_environment(SKYBUS_STARTUP_DIR=str(STARTUP)) as nats:
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        yield house


async def test_a_plan_that_asks_fails_with_its_question(house):
    report = await house.finish(plan("ask", "Close the hutch?"))
    assert (report["exit_status"], report["msg"]) == ("failed", "Plan failed: nobody can answer here: Close the hutch?")


@pytest.mark.parametrize("how", ["input", "read", "first stream", "lines", "bytes", "getpass"])
async def test_reading_from_standard_input_fails_in_plans_and_tasks(house, how):
    report = await house.finish(plan("ask_python", how))
    assert report["exit_status"] == "failed"
    assert "nobody can answer here" in report["msg"]
    assert ("Close the hutch?" in report["msg"]) == (how == "input")
    for background in (True, False):
        report = await house.finish_task(function("ask_now", how), background=background)
        assert not report["success"]
        assert "nobody can answer here" in report["msg"]


async def test_a_script_that_asks_fails(house):
    report = await house.finish_task(script("input('Sure?')"))
    assert "nobody can answer here: Sure?" in report["msg"]


async def test_user_code_that_brings_its_own_answers_gets_them(house):
    assert (await house.finish(plan("answered")))["return_value"] == ["yes", "no"]


async def test_an_own_command_for_questions_is_used(house):
    assert (await house.finish_task(function("answer_always")))["success"]
    assert (await house.finish(plan("ask", "Close the hutch?")))["return_value"] == "yes"
