"""The socket on which a service reports that it is ready, and then again and again that it lives (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

_LARGEST = 4096
"""Bytes of a report."""
_LOOKS = 10
"""How often one looks for a report in the time of silence that is allowed."""


class NotifySocket:
    """Receives the reports of one service, through all its lives.

    Args:
        path: Where it listens.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._facts: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._heard = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    @property
    def address(self) -> str:
        """What the service needs to know."""
        return str(self._path)

    def forget(self) -> None:
        """Drop the reports of a life that is over."""
        self._read()
        self._heard.clear()

    async def until_ready(self, _process: object = None) -> dict[str, str]:
        """Wait until the service is ready for the first time, and return what it says of itself."""
        return await asyncio.shield(self._facts)

    async def until_silent(self, seconds: float) -> None:
        """Wait until a service that has reported does not for so many seconds.

        Time counts only while our own loop looks at it. So a machine that was asleep, or too busy to run us, does not
        make a service silent.
        """
        await self._heard.wait()
        silent = 0
        while silent < _LOOKS:
            self._heard.clear()
            await asyncio.sleep(seconds / _LOOKS)
            silent = 0 if self._heard.is_set() else silent + 1

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(self._socket.recv(_LARGEST).decode(errors="replace").splitlines())

    def _take(self, lines: list[str]) -> None:
        self._heard.set()
        if "READY=1" in lines and not self._facts.done():
            facts = (line.partition("=") for line in lines)
            self._facts.set_result({name: fact for name, _, fact in facts})
