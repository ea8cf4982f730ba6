"""The plan `paced` of `startup_for_load`, and how late its points are by their own documents."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from nats.aio.msg import Msg

from skybus.bus.bodies import body_of
from skybus.client.client import Client
from tests.promises import PATIENCE
from tests.system.stack import RunningStack, stack_up

STARTUP = Path(__file__).parent / "startup_for_load"
WARM_UP_POINTS = 5
IS_SHARED = bool(os.environ.get("SKYBUS_TEST_MACHINE_IS_SHARED"))
"""Whether other programs use the machine: then times are printed and decide nothing."""


class Lateness(NamedTuple):
    """How late the points of a run were, by the times in its event documents."""

    points: int
    """Events that are in the stream."""
    worst: float
    """Seconds that the latest point came after its time."""

    def __str__(self) -> str:
        return f"{self.points} points, at most {self.worst:.3f} s late"


NO_POINTS = Lateness(0, 0.0)


@asynccontextmanager
async def paced_stack(data_dir: Path) -> AsyncIterator[RunningStack]:
    """Start a stack with a standby and an open environment that has run the plan once."""
    async with (
        stack_up(data_dir, "--standby", "--startup-dir", str(STARTUP)) as stack,
        stack.client(request_timeout=PATIENCE) as client,
    ):
        await client.open_environment()
        await run_paced(client, WARM_UP_POINTS, 0.1)
        yield stack


async def start_paced(client: Client, points: int, period: float) -> str:
    """Start the plan past the queue; no other item begins when it ends. Return its `item_uid`."""
    return (await client.execute("paced", num=points, period=period))["item_uid"]


async def run_paced(client: Client, points: int, period: float) -> dict[str, Any]:
    """Run the plan to its end, and return its result."""
    uid = await start_paced(client, points, period)
    return await result_of(client, uid, points * period + PATIENCE)


async def result_of(client: Client, item_uid: str, patience: float) -> dict[str, Any]:
    """Wait for the end of a plan, and return its result."""
    await client.wait(lambda status: status.running_item_uid != item_uid and status.manager_state == "idle", patience)
    filed = {item["item_uid"]: item for item in (await client.history()).items}
    return filed[item_uid]["result"]


async def lateness_of(client: Client, run_uid: str) -> Lateness:
    """Read the documents of a run from the stream."""
    (start,) = await documents_of(client, "start", run_uid)
    events = await documents_of(client, "event", run_uid)
    late = [event["time"] - start["begin"] - (event["seq_num"] - 1) * start["period"] for event in events]
    return Lateness(len(events), max(late, default=0.0))


async def documents_of(client: Client, name: str, run_uid: str) -> list[dict[str, Any]]:
    """Read the documents of one name, in the order of the stream."""
    found: list[dict[str, Any]] = []
    seq = 1
    while True:
        message = await _next(client, seq, client.bus.subjects.document(name, run_uid))
        if "Nats-Sequence" not in (message.headers or {}):
            return found
        seq = int(message.headers["Nats-Sequence"]) + 1
        found.append(orjson.loads(body_of(message)))


async def _next(client: Client, seq: int, subject: str) -> Msg:
    query = json.dumps({"seq": seq, "next_by_subj": subject}).encode()
    return await client.bus.request_raw(
        f"$JS.API.DIRECT.GET.{client.bus.subjects.docs_stream}", query, timeout=PATIENCE
    )
