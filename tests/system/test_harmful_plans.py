"""Whatever a plan does to its environment: it is told, the item is safe, and the next plan runs."""

from __future__ import annotations

import tempfile
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from skybus.bus.api.status import Status
from skybus.bus.errors import WrongStateError
from skybus.client.client import Client
from tests.promises import within
from tests.system.stack import RunningStack, stack_up

pytestmark = pytest.mark.asyncio(loop_scope="module")

STARTUP = Path(__file__).parent / "startup_that_harms"
LAST_WORDS = 0.3
"""Seconds between the last words of a plan and what it does then."""
GRACES = {
    "SKYBUS_ABORT_DEFERRED_PAUSE_GRACE": "3",
    "SKYBUS_ABORT_IMMEDIATE_PAUSE_GRACE": "1.5",
    "SKYBUS_ABORT_GRACE": "3",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack():
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder), "--startup-dir", str(STARTUP), **GRACES) as stack:
            yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def client(stack: RunningStack):
    """A client of an environment that is open and has nothing to do; after the test it still runs plans."""
    async with stack.client() as client:
        if not (await client.status()).worker_environment_exists:
            await client.open_environment()
        yield client
        if not (await client.status()).worker_environment_exists:
            await client.open_environment()
        await client.clear()
        await client.add("count", ["det"])
        await client.start()
        await client.wait("queue_drained")
        assert (await client.history()).items[-1]["result"]["exit_status"] == "completed"


async def begin(client: Client, name: str) -> str:
    """Run a plan until it has said its last words."""
    item_uid = (await client.add(name))["item_uid"]
    await client.start()
    async with aclosing(client.console(item_uid=item_uid)) as chunks:
        text = ""
        while "last words\n" not in text:
            text += (await anext(chunks)).text
    return item_uid


def is_over(status: Status) -> bool:
    return status.running_item_uid is None and status.manager_state == "idle"


async def result_of(client: Client, item_uid: str) -> dict:
    await client.wait(is_over)
    (item,) = [item for item in (await client.history()).items if item["item_uid"] == item_uid]
    return item["result"]


async def is_first_again(client: Client, name: str) -> bool:
    return [item["name"] for item in (await client.queue()).items] == [name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("kill", "was killed by signal 9 (SIGKILL)"),
        ("crash", "was killed by signal 11 (SIGSEGV)"),
        ("leave", "ended with exit code 3"),
    ],
)
@within(1)
async def test_an_environment_that_dies_is_filed(client: Client, name: str, reason: str, limit: float) -> None:
    uid = await begin(client, name)

    result = await result_of(client, uid)
    words = [chunk async for chunk in client.console(item_uid=uid, follow=False)]
    assert result["time_stop"] - words[0].time < LAST_WORDS + limit
    assert result["exit_status"] == "failed"
    assert reason in result["msg"]
    assert "last words\n" in result["traceback"]
    assert not (await client.status()).worker_environment_exists
    assert await is_first_again(client, name)


async def test_a_plan_that_is_lost_is_filed_with_all_runs_that_it_has_opened(client: Client) -> None:
    uid = (await client.add("kill_in_a_run"))["item_uid"]
    await client.start()

    result = await result_of(client, uid)
    first, second = result["scan_ids"]
    assert second == first + 1
    assert len(set(result["run_uids"])) == 2


async def test_a_plan_that_asks_for_too_much_memory_fails_alone(client: Client) -> None:
    result = await result_of(client, await begin(client, "ask_for_too_much"))

    assert (result["exit_status"], result["msg"]) == ("failed", "Plan failed: MemoryError")
    assert (await client.status()).worker_environment_exists


async def test_a_plan_that_takes_all_memory_takes_the_environment_along(client: Client) -> None:
    """In one way or another: code that gets no memory may raise, abort or crash."""
    result = await result_of(client, await begin(client, "hoard"))

    assert result["exit_status"] == "failed"
    assert "last words\n" in result["traceback"]
    assert not (await client.status()).worker_environment_exists
    assert await is_first_again(client, "hoard")


@pytest.mark.parametrize(
    ("name", "steps", "exit_status"),
    [
        ("steps", ["deferred_pause", "abort"], "aborted"),
        ("long_wait", ["deferred_pause", "immediate_pause", "abort"], "aborted"),
        ("never_paused", ["deferred_pause", "immediate_pause", "abort"], "aborted"),
        ("long_clean_up", ["deferred_pause", "immediate_pause", "abort", "kill"], "failed"),
        ("spin", ["deferred_pause", "immediate_pause", "kill"], "failed"),
        ("sleep_in_c", ["deferred_pause", "immediate_pause", "kill"], "failed"),
    ],
)
async def test_abort_now_ends_a_plan_whatever_it_does(
    client: Client, name: str, steps: list[str], exit_status: str
) -> None:
    uid = await begin(client, name)
    await client.add("count", ["det"])

    assert await client.abort(now=True) == steps

    result = await result_of(client, uid)
    assert result["exit_status"] == exit_status
    if "kill" in steps:
        assert "was destroyed: its plan was to be aborted" in result["msg"]
        assert "last words\n" in result["traceback"]
    assert [item["name"] for item in (await client.queue()).items] == [name, "count"]


async def test_abort_needs_a_plan_and_without_now_a_paused_one(client: Client, stack: RunningStack) -> None:
    with pytest.raises(WrongStateError, match="no running plan"):
        await client.abort(now=True)
    await begin(client, "steps")
    with pytest.raises(WrongStateError, match="not paused"):
        await client.abort()
    assert "now" in (await stack.ask("re_abort", {"now": True}))["msg"]
    assert (await stack.ask("re_abort"))["success"] is False
    await client.pause("immediate")
    await client.wait("paused")
    assert await client.abort(now=True) == ["abort"]
