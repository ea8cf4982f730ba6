"""An environment in an IPython kernel, and a console that is attached to it as people attach theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

from skybus.bus.api.internal import KERNEL_CONNECTION
from skybus.bus.messages import Empty
from tests.integration.worker_fixtures import House, WorkerProcess
from tests.promises import PATIENCE


class Console:
    """A Jupyter client of the kernel."""

    def __init__(self, client: AsyncKernelClient) -> None:
        self._client = client

    async def begin(self, code: str) -> str:
        """Begin to run a cell; returns when the kernel has begun."""
        request = self._client.execute(code)
        await self._until(request, "status", execution_state="busy")
        return request

    async def reply(self, request: str) -> dict[str, Any]:
        """The reply to a cell that was begun."""
        while (message := await self._client.get_shell_msg(timeout=PATIENCE))["parent_header"]["msg_id"] != request:
            pass
        await self._until(request, "status", execution_state="idle")
        return message["content"]

    async def run(self, code: str) -> dict[str, Any]:
        """Run a cell."""
        return await self.reply(await self.begin(code))

    async def answer(self, text: str) -> None:
        """Answer the question of the cell that runs."""
        await self._client.get_stdin_msg(timeout=PATIENCE)
        self._client.input(text)

    def shut_down(self) -> None:
        """End the kernel."""
        self._client.shutdown()

    async def output(self, text: str) -> dict[str, Any]:
        """The message that brings a text, whoever has printed it."""
        while True:
            message = await self._client.get_iopub_msg(timeout=PATIENCE)
            if message["msg_type"] == "stream" and text in message["content"]["text"]:
                return message

    async def _until(self, request: str, kind: str, **content: Any) -> None:
        while True:
            message = await self._client.get_iopub_msg(timeout=PATIENCE)
            is_ours = message["parent_header"].get("msg_id") == request
            if is_ours and message["msg_type"] == kind and content.items() <= message["content"].items():
                return


@asynccontextmanager
async def console_of(house: House) -> AsyncIterator[Console]:
    """Attach a console."""
    info = (await house.bus.call(KERNEL_CONNECTION, Empty())).ip_connect_info
    client = AsyncKernelClient()
    client.load_connection_info(info)
    client.start_channels()
    try:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for_ready()
        yield Console(client)
    finally:
        client.stop_channels()


def kernel_worker(data_dir: Path, **environ: str) -> WorkerProcess:
    """A supervisor whose environments run in an IPython kernel, and leave the user's own IPython folder alone."""
    home = {"IPYTHONDIR": str(data_dir / "ipython"), "JUPYTER_RUNTIME_DIR": str(data_dir / "jupyter")}
    worker = WorkerProcess(data_dir, SKYBUS_USE_IPYTHON_KERNEL="1", SKYBUS_SPARE="0", **home, **environ)
    if "SKYBUS_STARTUP_PROFILE" in environ:
        del worker.environ["SKYBUS_STARTUP_DIR"]
    return worker
