"""With an IPython kernel: plans of the queue and of consoles share a RunEngine, and each keeps what is its own."""

from pathlib import Path

import pytest

from skybus.bus.api.internal import KERNEL_RELEASE
from skybus.bus.messages import Empty
from tests.integration.kernel_fixtures import console_of, kernel_worker
from tests.integration.worker_fixtures import function, house_of, one_environment, plan

STARTUP = Path(__file__).with_name("startup_for_hooks")


@pytest.fixture(scope="module")
def servers():
    with one_environment(kernel_worker, SKYBUS_STARTUP_DIR=str(STARTUP)) as nats:
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        await house.bus.call(KERNEL_RELEASE, Empty())
        yield house
        await house.bus.call(KERNEL_RELEASE, Empty())


@pytest.fixture
async def console(house):
    async with console_of(house) as console:
        yield console


async def test_a_plan_of_the_queue_finds_the_run_engine_as_it_was_left(house):
    assert (await house.finish(plan("as_left")))["return_value"] == []


async def test_a_plan_of_the_queue_that_asks_fails_although_consoles_can_answer(house, console):
    for name, arguments in (("ask", ["Close the hutch?"]), ("ask_python", ["input"])):
        report = await house.finish(plan(name, *arguments))
        assert report["msg"] == "Plan failed: nobody can answer here: Close the hutch?"


async def test_a_cell_asks_the_console_that_has_sent_it(house, console):
    request = await console.begin("print('answered', input('Sure?'))")
    await console.answer("yes")
    assert (await console.reply(request))["status"] == "ok"
    await house.until_text("answered yes")


@pytest.mark.parametrize("asking", ["ask_python('input')", "ask('Close the hutch?')"])
async def test_a_plan_that_a_console_runs_asks_that_console(house, console, asking):
    request = await console.begin(f"RE({asking}); print('it has asked')")
    await console.answer("yes")
    assert (await console.reply(request))["status"] == "ok"
    await house.until_text("it has asked")


async def test_a_plan_that_a_console_runs_is_told_as_suspended_and_its_documents_are_its_own(house, console):
    request = await console.begin("install('closed'); let_end(False); RE(with_checkpoint()); RE(count([det]))")
    await house.until_text("begun")
    assert (await house.finish_task(function("set_signal", "shutter", 1), background=True))["success"]
    state = await house.until_state(lambda state: state.suspended is not None)
    assert state.suspended
    assert (state.suspended.by, state.attempt) == (["SuspendBoolHigh(shutter)"], None)
    await house.finish_task(function("let_end"), background=True)
    await house.finish_task(function("set_signal", "shutter", 0), background=True)
    assert (await console.reply(request))["status"] == "ok"
    assert (await house.until_state(lambda state: state.re_state == "idle")).suspended is None

    report = await house.finish(plan("change", "all unsubscribed"))
    await house.documents_of(report["run_uids"][0])
    assert {message.subject.split(".")[-1] for message in house.documents.messages} == set(report["run_uids"])


async def test_an_error_that_python_cannot_show_is_reported(house, console):
    report = await house.finish(plan("raises_bad_macro"))
    assert report["msg"] == "Plan failed: bad macro (macro.txt, line 3)"
    assert (await console.run("raise bad_macro()"))["status"] == "error"
    await house.until_text("SyntaxError: bad macro")
