"""An environment in an IPython kernel: the queue and people at consoles take turns, and see what the other does."""

import asyncio
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skybus.bus.api.internal import (
    ENVIRONMENT_END,
    KERNEL_CONNECTION,
    KERNEL_RELEASE,
    KERNEL_RESERVE,
    KERNEL_SIGNAL,
    PLAN_CONTINUE,
    PLAN_PAUSE,
    WORKER_OPEN,
    EnvironmentOpen,
    Interrupt,
    PlanContinue,
    PlanPause,
)
from skybus.bus.errors import WrongStateError
from skybus.bus.messages import Empty
from tests.integration.kernel_fixtures import console_of, kernel_worker
from tests.integration.worker_fixtures import (
    House,
    WorkerProcess,
    function,
    house_of,
    open_environment,
    plan,
    serving,
    until_answers,
)
from tests.servers import NatsServer

SLEEP = "import time; print('sleeping', flush=True); time.sleep(30)"


@contextmanager
def site(**environ: str) -> Iterator[tuple[NatsServer, WorkerProcess]]:
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        worker = kernel_worker(Path(folder), **environ)
        with serving(worker) as nats:
            yield nats, worker


@pytest.fixture(scope="module")
def servers():
    """One environment for the tests that leave it idle."""
    with site() as (nats, _):
        asyncio.run(open_environment(nats))
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        yield house
        if (now := await house.state()).ip_kernel_state == "busy":
            await house.until_state(lambda state: state.revision > now.revision and state.ip_kernel_state == "idle")
        state = await house.state()
        assert (state.phase, state.attempt, state.ip_kernel_captured) == ("idle", None, False)


@pytest.fixture
async def console(house):
    async with console_of(house) as console:
        yield console


async def release(house: House) -> None:
    assert not (await house.bus.call(KERNEL_RELEASE, Empty())).ip_kernel_captured


async def pause(house: House) -> None:
    await house.bus.call(PLAN_PAUSE, PlanPause(option="deferred"))
    await house.until_state(lambda state: state.re_state == "paused" and not state.ip_kernel_captured)


async def test_a_console_works_in_the_namespace_and_its_output_is_in_the_console_stream(house, console):
    request = await console.begin("import time; time.sleep(0.3); mark = 'by hand'; print(RE.state, det.name); 6 * 7")
    state = await house.until_state(lambda state: state.ip_kernel_state == "busy")
    assert (state.phase, state.ip_kernel_captured) == ("idle", False)
    assert (await console.reply(request))["status"] == "ok"
    await house.until_state(lambda state: state.ip_kernel_state == "idle")

    assert (await console.run("1/0"))["ename"] == "ZeroDivisionError"

    await house.until_text("ZeroDivisionError: division by zero")
    assert house.text().count("idle det\n") == 1
    assert ">> 42\n" in house.text()
    assert "\x1b" not in house.text()


async def test_startup_code_knows_that_it_is_in_ipython(house, console):
    code = "import bluesky_queueserver as q; assert q.is_ipython_mode() and q.is_re_worker_active()"
    assert (await console.run(code))["status"] == "ok"
    assert (await console.run("get_ipython().run_line_magic('who_ls', '')"))["status"] == "ok"


async def test_cells_wait_until_the_queue_gives_the_kernel_back(house, console):
    item = plan("say", "from a plan")
    first = await house.finish(item)
    waiting = asyncio.create_task(console.run("print('from a cell')"))
    second = await house.finish(plan("say", "another plan"))
    assert first["exit_status"] == second["exit_status"] == "completed"
    assert not waiting.done()
    assert (await house.state()).ip_kernel_captured

    await release(house)

    assert (await waiting)["status"] == "ok"
    await house.until_text("from a cell")
    assert house.text().index("another plan") < house.text().index("from a cell")
    assert house.text(item["item_uid"]) == "from a plan 0\n"


async def test_consoles_see_what_plans_print_as_the_output_of_somebody_else(house, console):
    await house.finish(plan("say", "for all consoles"))
    message = await console.output("for all consoles")
    assert message["parent_header"]["session"] != message["header"]["session"]
    await release(house)


async def test_nothing_of_the_queue_begins_while_a_cell_runs(house, console):
    request = await console.begin(SLEEP)
    await house.until_state(lambda state: state.ip_kernel_state == "busy")
    for attempt in (
        house.start(plan("say", "no")),
        house.start_task(function("add", 1, 2)),
        house.bus.call(KERNEL_RESERVE, Empty()),
        house.bus.call(ENVIRONMENT_END, Empty()),
    ):
        with pytest.raises(WrongStateError, match=r"IPython kernel \(RE Worker\) is busy"):
            await attempt

    await house.until_text("sleeping")
    await house.bus.call(KERNEL_SIGNAL, Interrupt())
    assert (await console.reply(request))["ename"] == "KeyboardInterrupt"


async def test_a_cell_that_waits_in_the_event_loop_has_the_kernel_too(house, console):
    request = await console.begin("import asyncio; go = asyncio.Event(); print('w'); await go.wait()")
    await house.until_text("w\n")
    with pytest.raises(WrongStateError, match="is busy"):
        await house.bus.call(KERNEL_RESERVE, Empty())
    await house.bus.call(KERNEL_SIGNAL, Interrupt())
    assert (await console.reply(request))["status"] == "error"


async def test_a_reserved_kernel_is_free_again_if_nothing_follows(house):
    reserved = await house.bus.call(KERNEL_RESERVE, Empty())
    assert (reserved.phase, reserved.ip_kernel_state, reserved.ip_kernel_captured) == ("reserved", "busy", True)
    free = await house.until_state(lambda state: state.revision > reserved.revision and not state.ip_kernel_captured)
    assert free.phase == "idle"


async def test_after_a_task_the_kernel_is_free_when_the_report_comes(house):
    assert (await house.finish_task(function("add", 1, 2)))["return_value"] == 3
    assert not (await house.state()).ip_kernel_captured


async def test_a_plan_that_is_started_by_hand_is_seen(house, console):
    request = await console.begin("RE(steps(20))")
    state = await house.until_state(lambda state: state.re_state == "running")
    assert (state.phase, state.ip_kernel_captured) == ("idle", False)
    await console.reply(request)
    await house.until_state(lambda state: state.re_state == "idle")


@pytest.mark.parametrize(("action", "status"), [("resume", "unknown"), ("abort", "aborted")])
async def test_a_paused_plan_that_is_ended_by_hand_is_reported(house, console, action: str, status: str):
    attempt = await house.start(plan("count", ["det"], num=30, delay=0.05))
    await house.until_state(lambda state: state.attempt == attempt and bool(state.runs))
    await pause(house)

    await console.run(f"RE.{action}()")

    report = await house.life.report("report", attempt=attempt)
    assert report["exit_status"] == status
    assert report["msg"] == "The plan is completed outside RE Manager"
    assert len(report["run_uids"]) == 1


async def test_an_interrupt_ends_a_task(house):
    uid = await house.start_task(function("wait"))
    await house.until_text("waiting")
    await house.bus.call(KERNEL_SIGNAL, Interrupt())
    report = await house.task_report(uid)
    assert not report["success"]
    assert "KeyboardInterrupt" in report["traceback"]


async def test_one_interrupt_pauses_a_plan_at_its_next_checkpoint_and_two_at_once(house):
    item = plan("long_past_checkpoint")
    attempt = await house.start(item)
    await house.text_of(item, until="past the checkpoint")
    await house.bus.call(KERNEL_SIGNAL, Interrupt())
    await house.bus.call(KERNEL_SIGNAL, Interrupt())
    await house.until_state(lambda state: state.re_state == "paused" and not state.ip_kernel_captured)
    await house.bus.call(PLAN_CONTINUE, PlanContinue(action="stop"))
    assert (await house.life.report("report", attempt=attempt))["exit_status"] == "stopped"
    await release(house)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The startup folder of a profile."""
    startup = tmp_path / "profile_beamline" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-first.py").write_text("from bluesky import RunEngine\nRE = RunEngine({})\nhere = __file__\n")
    (startup / "10-second.ipy").write_text("%env SKY_MAGIC=1\nlisting = !echo $here\n")
    return startup


@pytest.fixture
def profile_site(profile: Path):
    """A worker that runs this profile, with a connection file."""
    root = str(profile.parent.parent)
    settings = {"STARTUP_PROFILE": "beamline", "IPYTHON_DIR": root}
    connection = {"IPYTHON_CONNECTION_FILE": "sky.json", "IPYTHON_CONNECTION_DIR": root}
    with site(**{f"SKYBUS_{name}": value for name, value in (settings | connection).items()}) as servers:
        yield servers


@pytest.fixture
def own_site():
    """A worker without an environment."""
    with site() as servers:
        yield servers


async def look_at_profile(house: House) -> dict:
    """Open an environment, have a console read what the profile has done, and close it again."""
    environment_id = await house.open()
    info = (await house.bus.call(KERNEL_CONNECTION, Empty())).ip_connect_info
    async with console_of(house) as console:
        assert (await console.run("import os; print(os.environ['SKY_MAGIC'], listing[0])"))["status"] == "ok"
    await house.bus.call(ENVIRONMENT_END, Empty())
    exited = await house.life.report("exited", environment_id=environment_id)
    assert (exited["requested"], exited["exit_code"]) == (True, 0)
    return info


async def test_a_profile_is_loaded_and_its_kernel_is_reached_in_the_same_way_again(profile_site, profile: Path):
    async with house_of(profile_site[0]) as house:
        await until_answers(house)
        assert await look_at_profile(house) == await look_at_profile(house)
        await house.until_text(f"1 {profile / '00-first.py'}")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1/0", "ZeroDivisionError"),
        ("raise SyntaxError('bad macro', ('macro.txt', 3, '5', 'mv x 3'))", "bad macro"),
        ("raise ExceptionGroup('two motors', [ValueError('x'), ValueError('y')])", "two motors"),
    ],
)
async def test_startup_code_that_fails_in_a_kernel_is_reported(profile_site, profile: Path, code: str, words: str):
    broken = profile / "05-broken.py"
    broken.write_text(f"{code}\n")
    async with house_of(profile_site[0]) as house:
        await until_answers(house)
        environment_id = str(uuid.uuid4())
        await house.bus.call(WORKER_OPEN, EnvironmentOpen(environment_id=environment_id))
        opened = await house.life.report("opened", 20, environment_id=environment_id)
        assert not opened["success"]
        assert "05-broken.py" in opened["traceback"]
        assert words in opened["traceback"]
        await house.life.report("exited", environment_id=environment_id)
        broken.unlink()
        await look_at_profile(house)


async def test_a_console_may_shut_the_kernel_down(own_site):
    async with house_of(own_site[0]) as house:
        await until_answers(house)
        environment_id = await house.open()
        async with console_of(house) as console:
            console.shut_down()
            exited = await house.life.report("exited", environment_id=environment_id)
        assert (exited["requested"], exited["exit_code"]) == (True, 0)


async def test_an_environment_ends_when_our_work_in_the_kernel_cannot_go_on(own_site):
    async with house_of(own_site[0]) as house:
        await until_answers(house)
        environment_id = await house.open()
        await house.start(plan("break_engine"))
        exited = await house.life.report("exited", environment_id=environment_id)
    assert (exited["requested"], exited["exit_code"]) == (False, 1)


async def test_sigterm_ends_an_environment_in_which_a_cell_runs(own_site):
    nats, worker = own_site
    async with house_of(nats) as house:
        await until_answers(house)
        environment_id = await house.open()
        async with console_of(house) as console:
            await console.begin("while True: pass")
            await house.until_state(lambda state: state.ip_kernel_state == "busy")
            os.kill(worker.environment_pid, signal.SIGTERM)
            exited = await house.life.report("exited", environment_id=environment_id)
    assert exited["exit_code"] == 128 + signal.SIGTERM
