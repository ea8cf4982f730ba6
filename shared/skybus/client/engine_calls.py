"""The environment and its Run Engine, as methods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from nats.aio.msg import Msg

from skybus.bus.api.engine import (
    RE_ABORT,
    RE_HALT,
    RE_PAUSE,
    RE_RESUME,
    RE_RUNS,
    RE_STOP,
    AbortStep,
    ReAbort,
    ReContinue,
    RePause,
    ReRuns,
    Run,
    RunOption,
)
from skybus.bus.api.environment import (
    ENVIRONMENT_CLOSE,
    ENVIRONMENT_DESTROY,
    ENVIRONMENT_OPEN,
    EnvironmentControl,
)
from skybus.bus.api.events import EnvironmentChanged, EnvironmentFacts
from skybus.bus.api.status import Status
from skybus.bus.errors import SkybusError
from skybus.bus.messages import decode
from skybus.bus.provenance import is_event
from skybus.client.calls import Calls

_TOPIC = "environment"
_ABORT_NOW = 120.0
"""Seconds; how long each step may take is a setting of the queue service."""


class EnvironmentFailedError(SkybusError):
    """The environment did not open."""


class EngineCalls(Calls):
    """What one does with the environment and the plan that runs in it."""

    async def open_environment(
        self,
        *,
        wait: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> EnvironmentFacts | None:
        """Open the environment, wait until it takes plans, and return what it is made of.

        Raises:
            EnvironmentFailedError: its startup code failed; `details["traceback"]` says where.
        """
        async with self._last_change() as changes:
            await self.call(ENVIRONMENT_OPEN, EnvironmentControl())
            if not wait:
                return None
            status = await self.wait(_has_opened, timeout)
        if not status.worker_environment_exists:
            raise _why_not_open(changes)
        return changes[-1].facts if changes else None

    async def close_environment(self, *, wait: bool = True, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Close the environment, which must be idle, and wait until it is gone."""
        await self.call(ENVIRONMENT_CLOSE, EnvironmentControl())
        if wait:
            await self.wait(_is_gone, timeout)

    async def destroy_environment(self, *, wait: bool = True, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Kill the environment, whatever it does, and wait until it is gone."""
        await self.call(ENVIRONMENT_DESTROY, EnvironmentControl())
        if wait:
            await self.wait(_is_gone, timeout)

    async def pause(self, option: Literal["deferred", "immediate"] = "deferred") -> None:
        """Ask the running plan to pause, at its next checkpoint or now; `wait("paused")` waits for it."""
        await self.call(RE_PAUSE, RePause(option=option))

    async def resume(self) -> None:
        """Go on with the paused plan."""
        await self.call(RE_RESUME, ReContinue())

    async def stop_plan(self) -> None:
        """End the paused plan as a success."""
        await self.call(RE_STOP, ReContinue())

    async def abort(self, *, now: bool = False) -> list[AbortStep]:
        """End the paused or suspended plan as a failure, or with `now` any plan, and wait until that is over.

        Returns:
            The steps that it took: with `now` a deferred pause, an immediate one, the abort and the death of the
            environment follow each other, each when the one before has not worked in its time.
        """
        return (await self.call(RE_ABORT, ReAbort(now=now), timeout=_ABORT_NOW if now else None)).steps

    async def halt(self) -> None:
        """End the paused plan without its clean-up."""
        await self.call(RE_HALT, ReContinue())

    async def runs(self, option: RunOption = "active") -> list[Run]:
        """List the runs of the running plan."""
        return (await self.call(RE_RUNS, ReRuns(option=option))).run_list

    @asynccontextmanager
    async def _last_change(self) -> AsyncIterator[list[EnvironmentChanged]]:
        changes: list[EnvironmentChanged] = []

        async def receive(message: Msg) -> None:
            if is_event(self.bus.subjects, message):
                changes.append(decode(EnvironmentChanged, message.data))

        subscription = await self.bus.subscribe(self.bus.subjects.event(_TOPIC), receive)
        try:
            yield changes
        finally:
            await self.bus.unsubscribe(subscription)


def _has_opened(status: Status) -> bool:
    return status.manager_state not in ("creating_environment", "initializing")


def _is_gone(status: Status) -> bool:
    return not status.worker_environment_exists and not status.manager_state.endswith("_environment")


def _why_not_open(changes: list[EnvironmentChanged]) -> EnvironmentFailedError:
    failed = [change for change in changes if change.state != "opened"]
    said = failed[-1].msg if failed else ""
    return EnvironmentFailedError(
        f"the environment did not open{f': {said}' if said else ''}; `skybus console --last 50` shows what it printed",
        traceback=failed[-1].traceback if failed else "",
    )
