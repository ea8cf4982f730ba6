"""The end of a running plan, by whatever it takes: each step has its time, then a harder one follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from skybus.bus.api.engine import AbortStep
from skybus.bus.api.internal import PLAN_ABORT, PLAN_PAUSE, EngineAsked, PlanPause
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError, UnavailableError, WrongStateError
from skybus.bus.messages import Empty
from skybus.queue.keeper import Keeper
from skybus.queue.situation import Situation
from skybus.queue.states import State

log = structlog.get_logger()

PAUSES: dict[AbortStep, PlanPause] = {
    "deferred_pause": PlanPause(option="deferred"),
    "immediate_pause": PlanPause(option="immediate"),
}
FILED_AFTER = 10.0
"""Seconds in which the death of the environment must be reported."""

Graces = Mapping[AbortStep, float]
"""Seconds that each step has to work."""


class Escalation:
    """Ends one attempt.

    Args:
        kill: kills the environment, with a reason.
    """

    def __init__(
        self,
        attempt: str,
        keeper: Keeper,
        bus: Bus,
        situation: Situation,
        graces: Graces,
        kill: Callable[[str], Awaitable[None]],
    ) -> None:
        self._attempt = attempt
        self._keeper = keeper
        self._bus = bus
        self._now = situation
        self._graces = graces
        self._kill = kill
        self._steps: list[AbortStep] = []

    async def run(self) -> list[AbortStep]:
        """Take one step after the other until the plan is over, and return those that were taken.

        Raises:
            UnavailableError: the supervisor does not answer, or does not report the death of the environment.
        """
        is_heard = True
        for step, pause in PAUSES.items():
            if not self._is_stopped():
                is_heard = await self._take(step, lambda pause=pause: self._pause(pause), self._is_stopped)
        if is_heard and not self._is_over():  # a Run Engine that cannot hear would not abort either
            await self._take("abort", self._abort, self._is_over)
        if not self._is_over():
            await self._kill_environment()
        return self._steps

    def _is_over(self) -> bool:
        running = self._keeper.last.running
        return running is None or running.attempt != self._attempt

    def _is_stopped(self) -> bool:
        return self._is_over() or self._now.state == State.PAUSED

    async def _take(self, step: AbortStep, ask: Callable[[], Awaitable[EngineAsked]], done: Callable[[], bool]) -> bool:
        """Take a step and give it its time; tell whether the Run Engine has heard of it."""
        self._steps.append(step)
        log.info("the plan is being ended", step=step, attempt=self._attempt)
        is_heard = False
        try:
            async with asyncio.timeout(self._graces[step]):
                is_heard = await _is_heard(ask)
                await self._now.until(done)
        except TimeoutError:
            log.warning("a step to end the plan has not worked", step=step, is_heard=is_heard)
        return is_heard or done()

    async def _pause(self, pause: PlanPause) -> EngineAsked:
        return await self._bus.call(PLAN_PAUSE, pause)

    async def _abort(self) -> EngineAsked:
        return await self._bus.call(PLAN_ABORT, Empty())

    async def _kill_environment(self) -> None:
        tried = ", ".join(step.replace("_", " ") for step in self._steps)
        self._steps.append("kill")
        log.error("the environment is killed to end its plan", attempt=self._attempt, tried=tried)
        try:
            await self._kill(f"its plan was to be aborted and did not end ({tried})")
        except SkybusError as error:  # a busy machine may take long to end a process, or to tell
            log.warning("the supervisor cannot say that the environment is dead", reason=error.message)
        try:
            async with asyncio.timeout(FILED_AFTER):
                await self._now.until(self._is_over)
        except TimeoutError:
            raise UnavailableError("The environment is to be killed, but its end is not reported yet") from None


async def _is_heard(ask: Callable[[], Awaitable[EngineAsked]]) -> bool:
    try:
        return (await ask()).is_heard
    except WrongStateError as error:  # it is on its way into another state
        log.info("the environment refuses a step", reason=error.message)
        return True
    except UnavailableError as error:
        log.warning("the environment does not answer", reason=error.message)
        return False
