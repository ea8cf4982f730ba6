"""Whose turn it is in the main thread of an IPython kernel: ours, or that of cells which people run in consoles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from skybus.bus.api.internal import EnvironmentPhase
from skybus.bus.errors import WrongStateError
from skybus.worker.environment.execution import Executor, Release
from skybus.worker.environment.kernel import Kernel
from skybus.worker.environment.state import StateKeeper
from skybus.worker.environment.turns import Then, Turns
from skybus.worker.kernel_options import KernelOptions

log = structlog.get_logger()

PATIENCE = 0.2
"""Seconds that the kernel has to begin our work; a cell that begins at the same time may be faster."""
RESERVED = 2.0
"""Seconds that the kernel is ours when nothing follows, for instance because who has reserved it has died."""


class KernelTurns(Turns):
    """Shares the main thread with the cells of a kernel.

    Args:
        cells_ended: called when no cell runs any more.
    """

    def __init__(
        self, options: KernelOptions, state: StateKeeper, executor: Executor, cells_ended: Callable[[], None]
    ) -> None:
        self.kernel = Kernel(options, executor.work, self)
        self._state = state
        self._executor = executor
        self._cells_ended = cells_ended
        self._loop = asyncio.get_running_loop()
        self._taking = asyncio.Lock()
        self._taken: asyncio.Future[None] = self._loop.create_future()
        self._free = asyncio.Event()
        self._free.set()
        self._cells = 0
        self._end_of_reservation: asyncio.TimerHandle | None = None
        self._returning: list[Then] = []

    def opened(self) -> None:
        """The startup code has run: now cells may."""
        self._show()

    @property
    def is_ours(self) -> bool:
        """Whether what happens in the main thread is what we have ordered."""
        return not self._free.is_set()

    async def take(self) -> None:
        """Get the kernel, or keep it, for a short while; the orders that follow are done.

        Raises:
            WrongStateError: a cell has it.
        """
        async with self._taking:
            if self._returning:
                await self._free.wait()
            if not self.is_ours:
                await self._grab()
            self.end()

    def begin(self) -> None:
        """Keep the kernel as long as what was ordered takes."""
        if self._end_of_reservation:
            self._end_of_reservation.cancel()

    def end(self) -> None:
        """Keep the kernel for a short while more."""
        if not self.is_ours:
            return
        self.begin()
        self._end_of_reservation = self._loop.call_later(RESERVED, self.give_back, lambda: None)

    def give_back(self, then: Then) -> None:
        """Let cells run, and do something when they can."""
        if not self.is_ours:
            then()
            return
        self.begin()
        self._returning.append(then)
        if len(self._returning) == 1:
            self._executor.order(Release())

    async def _grab(self) -> None:
        if self._cells:
            raise WrongStateError("IPython kernel (RE Worker) is busy.")
        self._taken = self._loop.create_future()
        grab = self.kernel.grab()
        await asyncio.wait({self._taken}, timeout=PATIENCE)
        if not self._taken.done() and grab.decide():
            raise WrongStateError(
                "Failed to capture IPython kernel: Timeout occurred while trying to reserve IPython kernel"
            )
        await self._taken

    # What follows is called in the main thread.

    def cells_changed(self, running: int) -> None:
        """Called in the main thread."""
        self._tell(self._count_cells, running)

    def kernel_taken(self) -> None:
        """Called in the main thread."""
        self._tell(self._begin_turn)

    def kernel_refused(self) -> None:
        """Called in the main thread."""
        self._tell(self._refuse)

    def kernel_given_back(self) -> None:
        """Called in the main thread."""
        self._tell(self._end_turn)

    def _tell(self, call: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(call, *args)

    def _count_cells(self, running: int) -> None:
        self._cells = running
        self._show()
        if not running:
            self._cells_ended()

    def _begin_turn(self) -> None:
        self._free.clear()
        is_idle = self._state.state.phase == EnvironmentPhase.IDLE
        self._show(**({"phase": EnvironmentPhase.RESERVED} if is_idle else {}))
        if not self._taken.done():  # nobody waits when the environment only sees to an order to leave
            self._taken.set_result(None)

    def _refuse(self) -> None:
        if not self._taken.done():
            self._taken.set_exception(WrongStateError("IPython kernel (RE Worker) is busy."))

    def _end_turn(self) -> None:
        self._free.set()
        is_reserved = self._state.state.phase == EnvironmentPhase.RESERVED
        self._show(**({"phase": EnvironmentPhase.IDLE} if is_reserved else {}))
        thens, self._returning = self._returning, []
        for then in thens:
            then()

    def _show(self, **changes: Any) -> None:
        is_busy = self.is_ours or self._cells > 0
        self._state.change(ip_kernel_state="busy" if is_busy else "idle", ip_kernel_captured=self.is_ours, **changes)
