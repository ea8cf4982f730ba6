"""Child processes of user code inherit nothing of ours, and what becomes of them does not touch the environment."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skybus.bus.api.internal import WORKER_DESTROY, EnvironmentDestroy
from tests.integration.kernel_fixtures import kernel_worker
from tests.integration.startup_for_children.lib.kinds_of_children import KINDS, STARTED
from tests.integration.worker_fixtures import (
    House,
    WorkerProcess,
    function,
    house_of,
    open_environment,
    plan,
    serving,
)
from tests.servers import NatsServer

STARTUP = Path(__file__).parent / "startup_for_children"
LEAVINGS = {"exit": 3, "raise": 1, "return": 0, "go on": 1}
"""How a forked child comes back to our code, and its exit code."""


@contextmanager
def site(environment: str, **environ: str) -> Iterator[tuple[NatsServer, WorkerProcess]]:
    environ |= {"SKYBUS_STARTUP_DIR": str(STARTUP), "PYTHONPATH": str(STARTUP / "lib")}
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        if environment == "with a kernel":
            worker = kernel_worker(Path(folder), **environ)
        else:
            worker = WorkerProcess(Path(folder), SKYBUS_SPARE="0", **environ)
        with serving(worker) as nats:
            asyncio.run(open_environment(nats))
            yield nats, worker


@pytest.fixture(scope="module", params=["without a kernel", "with a kernel"])
def servers(request):
    """One environment of each sort for all tests."""
    with site(request.param, CHILDREN_AT_START="1") as (nats, _):
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        yield house


async def called(house: House, name: str, *args: object, background: bool = False) -> object:
    report = await house.finish_task(function(name, *args), background=background)
    assert report["success"], report["msg"]
    return report["return_value"]


async def returned(house: House, name: str, *args: object) -> object:
    report = await house.finish(plan(name, *args))
    assert report["exit_status"] == "completed", report["msg"]
    return report["return_value"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["startup code", "plan", "task", "background task"])
async def test_a_child_has_nothing_of_ours(house, kind, place):
    match place:
        case "plan":
            assert await returned(house, "faults_in_plan", kind) == []
        case "startup code":
            assert await called(house, "at_start", kind) == []
        case _:
            assert await called(house, "faults", kind, background=place != "task") == []


@pytest.mark.parametrize("kind", STARTED)
@pytest.mark.parametrize("place", ["plan", "background task"])
async def test_a_child_that_is_ended_at_once_ends_and_the_environment_lives_on(house, kind, place):
    if place == "plan":
        code = await returned(house, "end_in_plan", kind, signal.SIGTERM)
    else:
        code = await called(house, "end_at_once", kind, signal.SIGTERM, background=True)
    assert code == -signal.SIGTERM
    assert (await house.state()).phase == "idle"


@pytest.mark.parametrize("kind", ["subprocess", "subprocess with preexec_fn", "posix_spawn"])
@pytest.mark.parametrize("place", ["plan", "background task"])
async def test_a_program_that_user_code_starts_can_be_interrupted(house, kind, place):
    if place == "plan":
        code = await returned(house, "end_in_plan", kind, signal.SIGINT)
    else:
        code = await called(house, "end_at_once", kind, signal.SIGINT, background=True)
    assert code == -signal.SIGINT


@pytest.mark.parametrize(("how", "code"), LEAVINGS.items())
async def test_a_forked_child_that_comes_back_from_a_plan_ends_and_reports_nothing(house, how, code):
    report = await house.finish(plan("fork_in_plan", how))
    assert (report["exit_status"], report["return_value"]) == ("completed", code)
    run = report["run_uids"][0]
    names = [str(message.subject).split(".")[4] for message in await house.documents_of(run)]
    assert sorted(names) == ["start", "stop"]
    assert (await house.state()).phase == "idle"


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("how", ["exit", "raise", "return"])
async def test_a_forked_child_that_comes_back_from_a_function_ends_and_reports_nothing(house, how, background):
    assert await called(house, "fork_in_function", how, background=background) == LEAVINGS[how]
    assert sum(b["kind"] == "task" for b in house.life.bodies()) == 1


async def test_what_a_child_prints_is_in_the_console(house):
    item = plan("fork_in_plan", "raise")
    await house.finish(item)
    assert "in the child" in await house.text_of(item, until="ValueError")


@pytest.fixture
def own_site():
    """An environment that a test may end."""
    with site("without a kernel") as (nats, worker):
        yield nats, worker


async def test_an_environment_ends_whatever_signal_handlers_and_children_user_code_leaves(own_site):
    nats, worker = own_site
    async with house_of(nats) as house:
        await called(house, "run_event_loop")
        child = await called(house, "hold_for", 60)
        attempt = await house.start(plan("busy"))
        await house.until_text("busy")
        os.kill(worker.environment_pid, signal.SIGTERM)
        assert (await house.life.report("report", attempt=attempt))["exit_status"] == "aborted"
        await house.life.report("exited")
        os.kill(child, signal.SIGKILL)

        environment_id = await house.open()
        await called(house, "ignore_sigterm")
        assert await returned(house, "sigterm_is_ignored") is True
        await house.start(plan("busy"))
        await house.bus.call(WORKER_DESTROY, EnvironmentDestroy(reason="test"))
        exited = await house.life.report("exited", environment_id=environment_id)
        assert exited["exit_code"] == -signal.SIGKILL
