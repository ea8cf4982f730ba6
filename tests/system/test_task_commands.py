"""`skybus task` with a real environment: what scripts and functions do and return, and how their failures are told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.system.stack import BIN, RunningStack, stack_up

STARTUP = """
from bluesky import RunEngine

RE = RunEngine({})


def add(a, b=2):
    return {"sum": a + b}


def fail():
    raise ValueError("the motor is stuck")
"""
SCRIPT = """
from bluesky.plan_stubs import sleep


def nap():
    yield from sleep(0)
"""


async def skybus(stack: RunningStack, *words: str, said: str = "") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        str(BIN / "skybus"),
        *words,
        "--data-dir",
        str(stack.data_dir),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate(said.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_tasks_are_run_from_the_command_line(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "startup.py").write_text(STARTUP)
    async with stack_up(data_dir, "--startup-dir", str(tmp_path)) as stack, stack.client() as client:
        code, _, errors = await skybus(stack, "task", "function", "add", "1")
        assert (code, "`skybus env open` opens it" in errors) == (1, True)

        await client.open_environment()
        code, out, _ = await skybus(stack, "task", "function", "add", "1", "b=-5", "--json")
        assert (code, json.loads(out)["return_value"]) == (0, {"sum": -4})

        code, out, errors = await skybus(stack, "task", "function", "fail")
        assert (code, out) == (1, "")
        assert 'ValueError("the motor is stuck")' in errors

        code, out, _ = await skybus(stack, "task", "script", "-", said=SCRIPT)
        assert (code, out) == (0, "the task is done\n")
        assert "nap" in await client.plans()
