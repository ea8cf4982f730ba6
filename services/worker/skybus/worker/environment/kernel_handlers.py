"""What the environment answers about its IPython kernel; all of it runs in the asyncio thread."""

from __future__ import annotations

import asyncio
from typing import Any

from skybus.bus.api.internal import (
    KERNEL_CONNECTION,
    KERNEL_RELEASE,
    KERNEL_RESERVE,
    KERNEL_SIGNAL,
    Connection,
    EnvironmentState,
    Interrupt,
)
from skybus.bus.errors import WrongStateError
from skybus.bus.messages import Empty, Nothing
from skybus.bus.service import Handler
from skybus.worker.environment.kernel import Kernel, interrupt_main_thread
from skybus.worker.environment.state import StateKeeper
from skybus.worker.environment.turns import Turns

BETWEEN_INTERRUPTS = 0.15
"""Seconds; the RunEngine overhears an interrupt that comes within 0.1 s after another."""


class KernelHandlers:
    """Answers for the kernel, if there is one."""

    def __init__(self, state: StateKeeper, turns: Turns, kernel: Kernel | None) -> None:
        self._state = state
        self._turns = turns
        self._kernel = kernel
        self._next_interrupt = 0.0

    def table(self) -> list[Handler[Any, Any]]:
        """Who answers what."""
        return [
            Handler(KERNEL_CONNECTION, self.get_connection),
            Handler(KERNEL_RESERVE, self.reserve),
            Handler(KERNEL_RELEASE, self.release),
            Handler(KERNEL_SIGNAL, self.interrupt),
        ]

    async def get_connection(self, _request: Empty) -> Connection:
        """Say how consoles reach the kernel."""
        return Connection(ip_connect_info=self._kernel.connection_info if self._kernel else {})

    async def reserve(self, _request: Empty) -> EnvironmentState:
        """Keep the kernel for what follows."""
        await self._turns.take()
        return self._state.state

    async def release(self, _request: Empty) -> EnvironmentState:
        """Let consoles have the kernel, unless something of ours runs in it."""
        if self._state.is_idle:
            given_back = asyncio.Event()
            self._turns.give_back(given_back.set)
            await given_back.wait()
        return self._state.state

    async def interrupt(self, _request: Interrupt) -> Nothing:
        """Send Ctrl-C to the main thread: cells and tasks end, plans pause."""
        if self._kernel is None:
            raise WrongStateError("IPython kernel is not used")
        loop = asyncio.get_running_loop()
        at = max(loop.time(), self._next_interrupt)
        self._next_interrupt = at + BETWEEN_INTERRUPTS
        loop.call_at(at, interrupt_main_thread)
        return Nothing()
