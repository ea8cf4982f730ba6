"""A plan that waits for beam: everybody sees `suspended`, and clients of the reference see a plan that runs."""

import asyncio
import json

from tests.system.stack import BIN, RunningStack, stack_up

STARTUP = '''
import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.suspenders import SuspendBoolHigh
from ophyd import Signal

RE = RunEngine({})
shutter = Signal(name="shutter", value=0)
RE.install_suspender(SuspendBoolHigh(shutter, tripped_message="no beam"))


def wait_for_beam():
    """Wait for beam."""
    yield from bps.checkpoint()
    shutter.put(1)
    while shutter.get():
        yield from bps.sleep(0.02)


def open_shutter():
    """Bring the beam back."""
    shutter.put(0)
'''
ITEM = {"item_type": "plan", "name": "wait_for_beam"}


async def skybus(stack: RunningStack, *arguments: str) -> str:
    command = [str(BIN / "skybus"), *arguments, "--data-dir", str(stack.data_dir)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_a_suspended_plan_is_shown_paused_and_aborted(tmp_path):
    (startup := tmp_path / "startup").mkdir()
    (startup / "00-plans.py").write_text(STARTUP)
    async with stack_up(tmp_path / "data", "--startup-dir", str(startup)) as stack, stack.client() as client:
        await client.open_environment()
        await client.add_items([ITEM])
        await client.start()
        status = await client.wait("suspended")

        assert status.suspended
        assert status.suspended.by == ["SuspendBoolHigh(shutter)"]
        assert (status.manager_state, status.re_state) == ("executing_queue", "running")
        shown = await skybus(stack, "status")
        assert "by SuspendBoolHigh(shutter): Signal shutter is high: no beam" in shown
        told = await stack.ask("status")
        assert (told["manager_state"], told["re_state"]) == ("executing_queue", "running")
        assert told["worker_environment_state"] == "executing_plan"
        assert "suspended" not in told
        progress = await client.progress()
        assert progress
        assert progress.suspended == status.suspended

        await client.pause()
        assert (await client.wait("paused")).suspended is None
        await client.resume()
        await client.wait("suspended")
        assert await client.abort() == ["abort"]
        status = await client.wait("idle")
        assert status.suspended is None
        assert (await client.history()).items[-1]["result"]["exit_status"] == "aborted"
        assert json.loads(await skybus(stack, "status", "--json"))["suspended"] is None
