"""bluesky-queueserver-api and bluesky-httpserver from PyPI, unchanged, drive the stack over 0MQ."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks.reference_venv import ensure_clients, ensure_queue_monitor
from tests.promises import PATIENCE
from tests.servers import free_port
from tests.system.stack import RunningStack, empty, stack_up

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPTS = Path(__file__).parent / "reference_clients"
API_KEY = "onlyfortests"


@pytest.fixture(scope="session")
def clients() -> Path:
    return ensure_clients() / "bin"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stack() -> AsyncIterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        async with stack_up(Path(folder)) as stack:
            yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def stack(shared_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """The stack of all tests here; each leaves nothing in it."""
    yield shared_stack
    await empty(shared_stack)


async def run(clients: Path, script: str, *words: str) -> str:
    """Run a script in the clients' environment; what it asserts must hold."""
    process = await asyncio.create_subprocess_exec(
        str(clients / "python"), str(SCRIPTS / script), *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    return said.decode()


@asynccontextmanager
async def http_server(clients: Path, stack: RunningStack) -> AsyncIterator[str]:
    """bluesky-httpserver in front of the stack, for a single user with an API key; gives its URL."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(clients / "uvicorn"), "bluesky_httpserver.server:app", "--host", "127.0.0.1", "--port", str(port),
        env={
            **os.environ,
            "QSERVER_ZMQ_CONTROL_ADDRESS": stack.control,
            "QSERVER_ZMQ_INFO_ADDRESS": stack.info,
            "QSERVER_HTTP_SERVER_SINGLE_USER_API_KEY": API_KEY,
        },
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr
    said = ""
    async with asyncio.timeout(PATIENCE):
        while "Uvicorn running on" not in said:
            line = (await process.stderr.readline()).decode()
            assert line, f"the HTTP server ended: {said}"
            said += line
    draining = asyncio.create_task(process.stderr.read())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()  # it would wait for streams that never end
        await process.wait()
        await draining


@pytest.mark.parametrize("script", ["with_threads.py", "with_asyncio.py"])
async def test_queueserver_api_runs_plans_and_reads_what_they_print(
    clients: Path, stack: RunningStack, script: str
) -> None:
    assert "all of it worked" in await run(clients, script, stack.control, stack.info)


async def test_the_http_server_runs_plans_and_streams_what_they_print(clients: Path, stack: RunningStack) -> None:
    async with http_server(clients, stack) as url:
        assert "all of it worked" in await run(clients, "over_http.py", url, API_KEY)


@pytest.mark.slow  # Qt is a large download, and needs the system's libGL and libxkbcommon
@pytest.mark.timeout(900)
async def test_the_queue_monitor_shows_what_happens(stack: RunningStack, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    words = (stack.control, stack.info, str(tmp_path))
    assert "all of it worked" in await run(ensure_queue_monitor() / "bin", "queue_monitor.py", *words)
