"""What the Run Engine and its IPython kernel are asked for: pause, go on, metadata, interrupt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from skybus.bus.api.engine import AbortStep
from skybus.bus.api.internal import (
    ENGINE_METADATA,
    KERNEL_CONNECTION,
    KERNEL_RESERVE,
    KERNEL_SIGNAL,
    PLAN_ABORT,
    PLAN_CONTINUE,
    PLAN_PAUSE,
    EnvironmentPhase,
    EnvironmentState,
    Interrupt,
    PlanContinue,
    PlanPause,
)
from skybus.bus.command_lines import SHORT_UID
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError, WrongStateError
from skybus.bus.messages import Empty
from skybus.queue.escalation import Escalation, Graces
from skybus.queue.keeper import Keeper
from skybus.queue.situation import Situation
from skybus.queue.states import Event, State

log = structlog.get_logger()


class EngineControl:
    """Asks the environment, and follows what its engine does.

    Args:
        graces: what each step has that is to end a running plan.
        kill: kills the environment, with a reason.
    """

    def __init__(
        self, keeper: Keeper, bus: Bus, situation: Situation, graces: Graces, kill: Callable[[str], Awaitable[None]]
    ) -> None:
        self._keeper = keeper
        self._bus = bus
        self._now = situation
        self._graces = graces
        self._kill = kill

    async def pause(self, option: str) -> None:
        """Ask the Run Engine to pause."""
        await self._keeper.do(self._may_pause)
        await self._bus.call(PLAN_PAUSE, PlanPause.model_validate({"option": option}))
        await self._keeper.do(self._pause_requested)

    async def go_on(self, action: str) -> None:
        """Resume, stop, abort or halt a paused plan."""
        await self._keeper.do(self._may_go_on)
        await self._bus.call(PLAN_CONTINUE, PlanContinue.model_validate({"action": action}))
        await self._keeper.do(self._continued)

    async def abort(self, *, now: bool) -> list[AbortStep]:
        """End a paused or suspended plan as a failure, or any by whatever it takes; return the steps taken."""
        if not now:
            await self._abort_gently()
            return ["abort"]
        attempt = await self._keeper.do(self._stop_for_abort)
        return await Escalation(attempt, self._keeper, self._bus, self._now, self._graces, self._kill).run()

    async def _abort_gently(self) -> None:
        """End the paused plan, or a suspended one, which needs no pause first."""
        if self._now.state == State.EXECUTING_QUEUE and self._now.is_suspended:
            await self._bus.call(PLAN_ABORT, Empty())
        else:
            await self.go_on("abort")

    async def metadata(self) -> dict[str, Any]:
        """Read the metadata of the Run Engine."""
        self._now.require_open("Environment does not exist. Cannot retrieve RE metadata.")
        return (await self._bus.call(ENGINE_METADATA, Empty())).re_metadata

    async def kernel_connection(self) -> dict[str, Any]:
        """How to connect to the IPython kernel, empty if there is none."""
        if not self._now.has_kernel:
            return {}
        return (await self._bus.call(KERNEL_CONNECTION, Empty())).ip_connect_info

    async def interrupt(self, *, interrupt_task: bool, interrupt_plan: bool) -> None:
        """Send Ctrl-C to the IPython kernel, if what runs there may be interrupted."""
        try:
            await self._keeper.do(lambda: self._may_interrupt(task=interrupt_task, plan=interrupt_plan))
            await self._bus.call(KERNEL_SIGNAL, Interrupt())
        except WrongStateError as error:
            raise WrongStateError(f"Failed to interrupt IPython kernel: {error.message}") from None

    async def reserve_kernel(self) -> None:
        """Try whether the manager can have the IPython kernel for itself."""
        self._now.require_open("Worker environment does not exist")
        if not self._now.has_kernel:
            raise WrongStateError("IPython kernel mode is not enabled")
        await self._bus.call(KERNEL_RESERVE, Empty())

    def follow(self, environment: EnvironmentState) -> None:
        """Follow the Run Engine into and out of the pause of the running plan; inside the keeper's turn."""
        running = self._keeper.last.running
        if running is None or environment.attempt != running.attempt:
            return
        is_paused = environment.re_state == "paused" and environment.phase == EnvironmentPhase.IDLE
        if is_paused and self._now.state == State.EXECUTING_QUEUE:
            self._now.pause_pending = False
            self._now.go(Event.PAUSE)
            log.info("Plan paused", item=running.item["item_uid"][:SHORT_UID])
        elif self._now.state == State.PAUSED and environment.phase == EnvironmentPhase.EXECUTING_PLAN:
            self._now.go(Event.CONTINUE)

    async def _may_pause(self) -> None:
        self._now.require_engine()

    async def _stop_for_abort(self) -> str:
        """Have nothing follow the running plan, however it ends."""
        running = self._keeper.last.running
        if running is None or self._now.state not in (State.EXECUTING_QUEUE, State.PAUSED):
            raise WrongStateError(f"There is no running plan to abort: RE Manager is in state '{self._now.state}'")
        try:
            await self._keeper.alter(lambda book: book.set_flags(stop_pending=True))
        except UnavailableError as error:  # an aborted plan stops the queue in any case
            log.warning("that nothing is to follow is not written down", reason=error.message)
        return running.attempt

    async def _pause_requested(self) -> None:
        if self._now.state == State.EXECUTING_QUEUE:
            self._now.pause_pending = True
            self._now.changed()

    async def _may_go_on(self) -> None:
        if self._now.state != State.PAUSED:
            raise WrongStateError(f"RE Manager is not paused: current state is '{self._now.state}'")
        if self._now.is_kernel_taken:
            raise WrongStateError("IPython kernel (RE Worker) is busy.")

    async def _continued(self) -> None:
        if self._now.state == State.PAUSED:
            self._now.go(Event.CONTINUE)

    async def _may_interrupt(self, *, task: bool, plan: bool) -> None:
        self._now.require_open("Worker environment does not exist")
        if not self._now.has_kernel:
            raise WrongStateError("RE Manager is not in IPython mode: IPython kernel is not used")
        if not plan and self._now.state in (State.STARTING_QUEUE, State.EXECUTING_QUEUE):
            raise WrongStateError("Not allowed to interrupt running plan")
        if not task and self._now.state == State.EXECUTING_TASK:
            raise WrongStateError("Not allowed to interrupt running task")
