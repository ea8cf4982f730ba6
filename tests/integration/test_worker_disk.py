"""The worker's disk is full: plans run on and end, and what they have said arrives when there is room again."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from skybus.bus.api.internal import WORKER_DESTROY, WORKER_OPEN, WORKER_STATE, EnvironmentDestroy, EnvironmentOpen
from skybus.bus.errors import SkybusError, WrongStateError
from skybus.bus.messages import Empty
from tests.integration.worker_fixtures import House, WorkerProcess, house_of, plan, serving, until_answers
from tests.servers import NatsServer

NOBODY_CAN_READ = "x" * 1000, 3000
"""More than the pipe holds into which plans print."""


@contextmanager
def no_room(*pids: int) -> Iterator[None]:
    """Let processes write nothing into files: the error is another one than that of a full disk, and as common."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[NatsServer, WorkerProcess]]:
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        worker = WorkerProcess(Path(folder), SKYBUS_SPARE="0")
        with serving(worker) as nats:
            yield nats, worker


@pytest.fixture
def worker(site: tuple[NatsServer, WorkerProcess]) -> WorkerProcess:
    return site[1]


@pytest.fixture
async def house(site: tuple[NatsServer, WorkerProcess]) -> AsyncIterator[House]:
    async with house_of(site[0]) as house:
        await until_answers(house)
        yield house


@pytest.fixture
async def environment_id(house: House) -> str:
    return (await house.bus.call(WORKER_STATE, Empty())).environment_id or await house.open()


async def test_an_environment_that_cannot_be_written_down_is_not_started(house: House, worker: WorkerProcess) -> None:
    assert worker.process
    with no_room(worker.process.pid), pytest.raises(SkybusError, match="cannot be started"):
        await house.bus.call(WORKER_OPEN, EnvironmentOpen(environment_id="one"))

    assert not (worker.data_dir / "environments" / "one").exists()
    assert (await house.bus.call(WORKER_STATE, Empty())).environment_id is None


async def test_a_plan_runs_on_and_its_output_and_report_come_when_there_is_room(
    house: House, worker: WorkerProcess, environment_id: str
) -> None:
    text, number = NOBODY_CAN_READ
    item = plan("say", text, number)
    with no_room(worker.environment_pid):
        attempt = await house.start(item)
        await house.until_state(lambda state: state.attempt == attempt)
        await house.until_state(lambda state: state.attempt is None)
        assert "report" not in [body["kind"] for body in house.life.bodies()]

    assert (await house.life.report("report", attempt=attempt))["exit_status"] == "completed"
    assert await house.text_of(item, f"{text} {number - 1}\n") == "".join(f"{text} {n}\n" for n in range(number))
    log = (worker.data_dir / "environments" / environment_id / "environment.log").read_text()
    assert "messages can be written to the spool again" in log


async def test_an_environment_can_be_destroyed_and_is_accounted_for_when_there_is_room(
    house: House, worker: WorkerProcess, environment_id: str
) -> None:
    await house.start(plan("steps", 1000))
    await house.until_text("step 3")
    assert worker.process
    with no_room(worker.process.pid, worker.environment_pid):
        await house.bus.call(WORKER_DESTROY, EnvironmentDestroy(reason="too long"))
        with pytest.raises(WrongStateError, match="its end waits for room on the disk"):
            await house.bus.call(WORKER_OPEN, EnvironmentOpen(environment_id="other"))

    gone = await house.life.report("exited", environment_id=environment_id)

    assert (gone["requested"], gone["msg"]) == (True, "The environment was destroyed: too long")
    assert gone["output_tail"].splitlines()[-1].startswith("step ")
