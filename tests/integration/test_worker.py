"""The supervisor opens, watches, adopts and accounts for environments; nothing is lost when one of them dies."""

import asyncio
import os
import selectors
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import pytest

from skybus.bus.api.internal import (
    ENVIRONMENT_END,
    WORKER_DESTROY,
    WORKER_OPEN,
    WORKER_STATE,
    EnvironmentDestroy,
    EnvironmentOpen,
)
from skybus.bus.errors import WrongStateError
from skybus.bus.messages import Empty
from tests.integration.worker_fixtures import (
    STARTUP,
    House,
    WorkerProcess,
    function,
    gate_in,
    house_of,
    open_gate,
    plan,
    script,
    serving,
    stored,
    until_answers,
)
from tests.promises import PATIENCE
from tests.servers import NatsServer


@contextmanager
def site_with(startup_dir: Path) -> Iterator[tuple[NatsServer, WorkerProcess]]:
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        worker = WorkerProcess(Path(folder), SKYBUS_STARTUP_DIR=str(startup_dir))
        with serving(worker) as nats:
            yield nats, worker


@pytest.fixture(scope="module")
def site():
    """One NATS and one worker for most tests; each leaves both running and no environment."""
    with site_with(STARTUP) as site:
        yield site


@pytest.fixture(scope="module")
def other_site(tmp_path_factory):
    """The same with a startup directory that tests write."""
    folder = tmp_path_factory.mktemp("startup")
    with site_with(folder) as (nats, _):
        yield nats, folder / "00.py"


@pytest.fixture
async def house_with_startup(other_site):
    """A house and the file with its startup code."""
    nats, startup = other_site
    async with house_of(nats) as house:
        await until_answers(house)
        yield house, startup


@pytest.fixture
async def nats(site):
    """NATS with empty streams."""
    async with site[0].bus("queue") as bus:
        for info in await bus.jetstream.streams_info():
            await bus.jetstream.purge_stream(info.config.name or "")
    return site[0]


@pytest.fixture
async def worker(site, nats):
    yield site[1]
    if site[1].process is None:
        site[1].start()
    async with house_of(nats) as house:
        await until_answers(house)
        state = await house.bus.call(WORKER_STATE, Empty())
        if state.environment_id:
            await house.bus.call(WORKER_DESTROY, EnvironmentDestroy())
            await exited(house, state.environment_id)


@pytest.fixture
def data_dir(site):
    return site[0].data_dir


@pytest.fixture
async def house(nats, worker):
    async with house_of(nats) as house:
        await until_answers(house)
        yield house


def restart(worker: WorkerProcess, number: int = signal.SIGKILL) -> None:
    worker.send(number)
    worker.start()


async def begin_to_open(house: House) -> str:
    environment_id = str(uuid.uuid4())
    await until_answers(house)
    await house.bus.call(WORKER_OPEN, EnvironmentOpen(environment_id=environment_id))
    return environment_id


async def exited(house: House, environment_id: str, seconds: float = PATIENCE) -> dict:
    return await house.life.report("exited", seconds, environment_id=environment_id)


async def test_an_environment_is_opened_once_and_closed(house):
    environment_id = await house.open()
    await house.bus.call(WORKER_OPEN, EnvironmentOpen(environment_id=environment_id))  # once more does no harm
    with pytest.raises(WrongStateError, match="exists already"):
        await house.bus.call(WORKER_OPEN, EnvironmentOpen(environment_id="other"))
    state = await house.bus.call(WORKER_STATE, Empty())
    assert state.environment_id == environment_id
    assert Path(f"/proc/{state.pid}").exists()

    await house.bus.call(ENVIRONMENT_END, Empty())

    gone = await exited(house, environment_id)
    assert (gone["exit_code"], gone["requested"], gone["msg"]) == (0, True, "The environment was closed")
    assert (await house.bus.call(WORKER_STATE, Empty())).environment_id is None


async def test_a_busy_environment_refuses_to_close_but_can_be_destroyed(house):
    environment_id = await house.open()
    await house.start(plan("steps", 1000))
    await house.until_text("step 1")
    with pytest.raises(WrongStateError, match="can not be closed"):
        await house.bus.call(ENVIRONMENT_END, Empty())

    await house.bus.call(WORKER_DESTROY, EnvironmentDestroy(environment_id=environment_id))

    gone = await exited(house, environment_id)
    assert (gone["exit_code"], gone["requested"]) == (-9, True)
    await house.bus.call(WORKER_DESTROY, EnvironmentDestroy(environment_id=environment_id))  # once more does no harm
    with pytest.raises(WrongStateError, match="does not exist"):
        await house.bus.call(WORKER_DESTROY, EnvironmentDestroy())


async def test_an_environment_closes_whatever_runs_in_its_background(house):
    environment_id = await house.open()
    await house.start_task(function("wait"), background=True)
    await house.until_text("waiting")

    await house.bus.call(ENVIRONMENT_END, Empty())

    gone = await exited(house, environment_id, 3)
    assert (gone["exit_code"], gone["requested"]) == (0, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_script_that_never_ends_goes_with_its_environment(house, worker, number):
    environment_id = await house.open()
    await house.start_task(script("print('for ever')\nwhile True: pass"))
    await house.until_text("for ever")
    with pytest.raises(WrongStateError, match="can not be closed"):
        await house.bus.call(ENVIRONMENT_END, Empty())

    os.kill(worker.environment_pid, number)

    assert (await exited(house, environment_id, 5))["requested"] is False
    await house.open()


async def test_startup_code_that_fails_is_reported_with_its_traceback(house_with_startup):
    house, startup = house_with_startup
    startup.write_text("print('before')\nbeam = 1 / 0\n")
    environment_id = await begin_to_open(house)

    opened = await house.life.report("opened", environment_id=environment_id)
    gone = await exited(house, environment_id)

    assert opened["success"] is False
    assert "division by zero" in opened["msg"]
    assert "beam = 1 / 0" in opened["traceback"]
    assert (gone["exit_code"], gone["requested"]) == (1, False)
    assert "before\n" in gone["output_tail"]


async def test_startup_code_whose_error_python_cannot_write_is_reported_with_its_words(house_with_startup):
    house, startup = house_with_startup
    startup.write_text("raise SyntaxError('bad macro', ('macro.txt', 3, '5', 'mv x 3'))\n")
    environment_id = await begin_to_open(house)

    opened = await house.life.report("opened", environment_id=environment_id)

    assert "bad macro" in opened["msg"]
    assert f'File "{startup}", line 1' in opened["traceback"]
    assert (await exited(house, environment_id))["exit_code"] == 1


@pytest.mark.parametrize(
    "code",
    [
        "import builtins\nbuiltins.print = lambda *values: None",
        "import sys\nsys.stdout.close()\nsys.stderr.close()",
        "import sys\nsys.stdout = sys.stderr = None",
    ],
    ids=["own print", "closed streams", "no streams"],
)
async def test_an_environment_opens_and_warns_whatever_startup_code_does_to_print(house_with_startup, code):
    house, startup = house_with_startup
    startup.write_text(f"{code}\ndef plan(p={'x' * 10_001!r}):\n    yield\n")
    environment_id = await house.open()
    await house.until_text("Warning: ")
    await house.bus.call(ENVIRONMENT_END, Empty())
    await exited(house, environment_id)


BUSY_AT_THE_END = """
import atexit, os, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
{first}
pool = ProcessPoolExecutor(2)
print("workers", *{{pool.submit(os.getpid).result() for _ in range(20)}}, flush=True)
{last}
"""


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("", ""),
        ("ThreadPoolExecutor(1).submit(threading.Event().wait)", ""),
        ("", "atexit.register(threading.Event().wait)"),
        ("", "pool.submit(time.sleep, 600)"),
    ],
    ids=["idle", "busy thread pool", "endless exit handler", "busy pool"],
)
async def test_workers_of_a_pool_end_with_their_environment(house_with_startup, first, last):
    house, startup = house_with_startup
    startup.write_text(BUSY_AT_THE_END.format(first=first, last=last))
    environment_id = await house.open()
    await house.until_text("workers ")
    workers = house.text().partition("workers ")[2].splitlines()[0].split()
    await house.bus.call(ENVIRONMENT_END, Empty())
    gone = await exited(house, environment_id)
    if last:
        assert "Exit handlers have not returned within 1 s" in gone["output_tail"]
    for pid in workers:
        with suppress(ProcessLookupError):
            watched = os.pidfd_open(int(pid))
            with selectors.DefaultSelector() as selector:
                selector.register(watched, selectors.EVENT_READ)
                assert selector.select(PATIENCE), f"worker {pid} lives on"
            os.close(watched)


async def test_failed_startup_code_ends_the_process_although_its_thread_goes_on(house_with_startup):
    house, startup = house_with_startup
    startup.write_text(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait).start()  # keeps a process whose main thread ends\n"
        "raise RuntimeError('no beam')\n"
    )
    environment_id = await begin_to_open(house)

    opened = await house.life.report("opened", environment_id=environment_id)

    assert opened["success"] is False
    assert "no beam" in opened["msg"]
    assert (await exited(house, environment_id))["exit_code"] == 1


async def test_an_environment_ends_when_its_main_thread_cannot_go_on(house):
    environment_id = await house.open()
    await house.start(plan("break_engine"))

    gone = await exited(house, environment_id)

    assert (gone["exit_code"], gone["requested"]) == (1, False)


async def test_startup_code_may_fail_with_a_text_of_any_kind_and_size(house_with_startup):
    house, startup = house_with_startup
    startup.write_text("raise RuntimeError('half a character: \\udcff' + 5_000_000 * 'x')\n")
    environment_id = await begin_to_open(house)

    opened = await house.life.report("opened", environment_id=environment_id)

    assert "half a character: ?" in opened["msg"]
    assert len(opened["msg"]) + len(opened["traceback"]) < 200_000
    await exited(house, environment_id)


async def test_an_environment_can_be_destroyed_while_its_startup_code_hangs(house_with_startup):
    house, startup = house_with_startup
    startup.write_text("import threading\nprint('hanging', flush=True)\nthreading.Event().wait()\n")
    environment_id = await begin_to_open(house)
    await house.until_text("hanging")

    await house.bus.call(WORKER_DESTROY, EnvironmentDestroy())

    assert (await exited(house, environment_id))["requested"] is True


async def test_without_a_run_engine_there_is_an_environment_but_no_plan_runs(house_with_startup):
    house, startup = house_with_startup
    startup.write_text("from bluesky.plan_stubs import null\n")
    await house.open()

    assert (await house.state()).has_engine is False
    with pytest.raises(WrongStateError, match="no RunEngine"):
        await house.run("1", plan("null"))
    await house.bus.call(ENVIRONMENT_END, Empty())
    await house.life.report("exited", requested=True)


async def test_a_killed_environment_is_accounted_for(house, worker):
    environment_id = await house.open()
    await house.start(plan("steps", 1000))
    await house.until_text("step 3")

    os.kill(worker.environment_pid, signal.SIGKILL)

    gone = await exited(house, environment_id)
    assert (gone["exit_code"], gone["requested"]) == (-9, False)
    assert gone["msg"] == "The environment process was killed by signal 9 (SIGKILL)"
    assert gone["output_tail"].splitlines()[-1].startswith("step ")


async def test_last_words_of_a_process_that_ends_itself_are_kept(house, tmp_path):
    environment_id, gate = await house.open(), gate_in(tmp_path)
    item = plan("die", str(gate))
    await house.start(item)

    await open_gate(gate)

    gone = await exited(house, environment_id)

    assert gone["msg"] == "The environment process ended with exit code 3"
    assert gone["output_tail"].endswith("last words\n")
    assert await house.text_of(item, "last words\n") == "last words\n"


async def test_sigterm_aborts_the_plan_and_its_report_comes_first(house, worker):
    environment_id = await house.open()
    attempt = await house.start(plan("steps", 1000))
    await house.until_text("step 1")

    os.kill(worker.environment_pid, signal.SIGTERM)

    await exited(house, environment_id)
    kinds = [(body["kind"], body.get("attempt")) for body in house.life.bodies()]
    assert kinds == [("opened", None), ("report", attempt), ("exited", attempt)]
    assert house.life.bodies()[1]["exit_status"] == "aborted"


async def test_a_plan_goes_on_without_its_supervisor_and_the_next_one_adopts_it(house, worker):
    environment_id = await house.open()
    pid, item = worker.environment_pid, plan("steps", 30)
    attempt = await house.start(item)
    await house.until_text("step 3")

    restart(worker)
    await until_answers(house)

    state = await house.bus.call(WORKER_STATE, Empty())
    assert (state.environment_id, state.pid) == (environment_id, pid)
    report = await house.life.report("report", attempt=attempt)
    assert report["exit_status"] == "completed"
    assert await house.text_of(item, "step 29\n") == "".join(f"step {n}\n" for n in range(30))

    await house.bus.call(ENVIRONMENT_END, Empty())
    gone = await exited(house, environment_id)
    assert (gone["exit_code"], gone["requested"]) == (0, True)


async def test_a_second_supervisor_on_the_same_data_directory_is_refused(house, worker):
    second = WorkerProcess(house_dir := worker.data_dir)
    second.start()
    assert second.process
    assert await asyncio.to_thread(second.process.wait, 10) == 1
    assert f"another worker runs on {house_dir}" in worker.log()


async def test_a_restarted_supervisor_notices_that_the_environment_has_died_meanwhile(house, worker):
    environment_id = await house.open()
    await house.start(plan("steps", 1000))
    await house.until_text("step 3")
    pid = worker.environment_pid
    worker.send(signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)  # raises if the supervisor has taken it along

    worker.start()
    await until_answers(house)

    gone = await exited(house, environment_id)
    assert gone["requested"] is False
    assert gone["output_tail"].splitlines()[-1].startswith("step ")
    await house.open()


async def test_sigint_takes_the_environment_down(house, worker, data_dir):
    environment_id = await house.open()
    attempt = await house.start(plan("steps", 1000))
    await house.until_text("step 1")

    assert worker.send(signal.SIGINT) == 0

    await exited(house, environment_id)
    assert (await house.life.report("report", attempt=attempt))["exit_status"] == "aborted"
    assert not (data_dir / "worker.json").exists()


async def test_everything_that_happened_while_nats_was_away_arrives_in_order_and_once(nats, worker, data_dir):
    steps, counted = plan("steps", 40), plan("count", ["det"], num=5, delay=0.1)
    async with house_of(nats) as house:
        await until_answers(house)
        await house.open()
        await house.finish(counted)
        attempt = await house.start(steps)
        await house.until_text("step 3")
    nats.stop()
    pid = worker.environment_pid
    spool = data_dir / "environments"
    await _until_spooled(spool, b"step 39", pid)

    await nats.start()
    async with house_of(nats) as house:
        await _until_stored(house, "LIFE_sim", 3)

        text = await text_with(house, "step 39\n")
        assert text == "".join(f"step {n}\n" for n in range(40))
        reports = [orjson.loads(message.data or b"") for message in await stored(house.bus, "LIFE_sim")]
        assert [report["kind"] for report in reports] == ["opened", "report", "report"]
        assert reports[2]["attempt"] == attempt


async def test_an_environment_that_dies_while_nats_is_away_is_accounted_for_later(nats, worker, data_dir):
    async with house_of(nats) as house:
        await until_answers(house)
        environment_id = await house.open()
        item = plan("steps", 1000)
        await house.start(item)
        await house.until_text("step 3")
    nats.stop()
    pid = worker.environment_pid
    await _until_spooled(data_dir / "environments", b"step 20", pid)
    os.kill(pid, signal.SIGKILL)
    restart(worker)

    await nats.start()
    async with house_of(nats) as house:
        await _until_stored(house, "LIFE_sim", 2)

        gone = orjson.loads((await stored(house.bus, "LIFE_sim"))[-1].data or b"")
        assert (gone["kind"], gone["environment_id"]) == ("exited", environment_id)
        tail = gone["output_tail"].splitlines()[-1]
        text = await text_with(house, f"{tail}\n")
        last = int(tail.split()[-1])
        assert last >= 20
        assert text == "".join(f"step {n}\n" for n in range(last + 1))


async def text_with(house: House, line: str) -> str:
    """The output of plans, as the stream has it once it has this line; it may lag behind the stream of reports."""
    async with asyncio.timeout(PATIENCE):
        while True:
            messages = await stored(house.bus, "CONSOLE_sim")
            text = b"".join(m.data or b"" for m in messages if (m.headers or {}).get("Sky-Item")).decode()
            if line in text:
                return text
            await asyncio.sleep(0.02)


async def _until_spooled(folder: Path, text: bytes, pid: int) -> None:
    """Wait until the environment has written something, which nobody can hear now."""
    async with asyncio.timeout(PATIENCE):
        while not any(text in path.read_bytes() for path in folder.glob("*/spool/*.spool")):
            assert Path(f"/proc/{pid}").exists()
            await asyncio.sleep(0.02)


async def _until_stored(house: House, stream: str, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await house.bus.jetstream.stream_info(stream)).state.messages < number:
            await asyncio.sleep(0.02)
