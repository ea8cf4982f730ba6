"""Reports and documents larger than a message: a report arrives in parts, people hear of a document that cannot."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from skybus.bus.api.internal import TaskReport, TaskRun
from skybus.bus.messages import encode
from skybus.worker.outbox import Outbox
from skybus.worker.spool import Spool
from tests.integration.queue_fixtures import StandIns, client, house, opened, queue_service
from tests.integration.worker_fixtures import House, house_of, one_environment, plan, script

__all__ = ["client", "house"]

RANDOM = random.Random(13)
FLOATS = [RANDOM.random() for _ in range(500_000)]
"""9.6 MB as JSON, 4.6 MB compressed: two parts."""


def report_of(order: TaskRun, house: StandIns, value: object) -> TaskReport:
    return TaskReport(
        environment_id=str(house.environment_id),
        task_uid=order.task_uid,
        success=True,
        return_value=value,
        run_in_background=False,
        time_start=time.time(),
        time_stop=time.time(),
    )


async def deliver(house: StandIns, folder: Path, *reports: TaskReport) -> None:
    """Send reports as an environment does."""
    with closing(Spool(folder / "spool")) as spool:
        outbox = Outbox(spool, house.environment, folder / "undelivered")
        for report in reports:
            outbox.put(house.environment.subjects.life("task"), encode(report), report.task_uid, {}, durable=True)
        await outbox.run_until_delivered()


async def test_a_large_result_of_a_function_is_filed(nats, valkey, house, client, tmp_path) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        uid = await client.run_function("give")
        await deliver(house, tmp_path, report_of(await house.tasks.get(), house, FLOATS))
        assert await client.wait_task(uid, 60) == FLOATS


async def test_a_report_whose_parts_are_gone_keeps_no_other_waiting(nats, valkey, house, client, tmp_path) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
    orders = []
    async with queue_service(nats, valkey):
        for name in ("give", "add"):
            await client.run_function(name, in_background=True)
            orders.append(await house.tasks.get())
    await deliver(house, tmp_path / "first", report_of(orders[0], house, FLOATS))
    stream = house.services.subjects.life_stream
    await house.services.jetstream.purge_stream(stream, subject=house.services.subjects.life_part(">"))
    await deliver(house, tmp_path / "second", report_of(orders[1], house, 3))
    async with queue_service(nats, valkey):
        assert await client.wait_task(orders[1].task_uid, 60) == 3
        first = await client.task(orders[0].task_uid)
        assert first.status == "running"


@pytest.fixture(scope="module")
def servers():
    with one_environment() as nats:
        yield nats


@pytest.fixture
async def environment(servers):
    async with house_of(servers) as house:
        yield house


NOISY = """
import os

def noisy_run(runs):
    for _ in range(runs):
        yield from bps.open_run({"text": os.urandom(5_000_000).hex()})
        yield from bps.close_run()
"""


async def test_a_document_too_large_for_the_bus_is_reported_to_people(environment: House) -> None:
    assert (await environment.finish_task(script(NOISY)))["success"]
    item = plan("noisy_run", 2)
    report = await environment.finish(item)

    text = await environment.text_of(item, "A document is too large for the bus: 'start'")
    assert report["exit_status"] == "completed"
    assert report["msg"].startswith("a document is too large for the bus: 'start' " + report["run_uids"][0])
    assert report["msg"].endswith("(and 1 more such warnings)")
    stub = (await environment.documents_of(report["run_uids"][0]))[0]
    file = orjson.loads(stub.data)["file"]
    assert file in report["msg"]
    assert file in text
    assert len(orjson.loads(Path(file).read_bytes())["text"]) == 10_000_000
