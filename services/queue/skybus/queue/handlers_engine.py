"""Who answers the endpoints that run things: environment, queue control, Run Engine, IPython kernel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from skybus.bus.api import engine, environment, queue
from skybus.bus.messages import Empty, Message, Nothing
from skybus.bus.service import Handler
from skybus.queue.manager import Manager
from skybus.queue.status import StatusMaker


class EngineHandlers:
    """Has the manager do what is asked for."""

    def __init__(self, manager: Manager, status: StatusMaker) -> None:
        self._manager = manager
        self._status = status

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        environments, runner, control = self._manager.environments, self._manager.runner, self._manager.engine
        return [
            Handler(environment.ENVIRONMENT_OPEN, _done(lambda _: environments.open())),
            Handler(environment.ENVIRONMENT_CLOSE, _done(lambda _: environments.close())),
            Handler(environment.ENVIRONMENT_DESTROY, _done(lambda _: environments.destroy())),
            Handler(queue.QUEUE_START, _done(lambda _: runner.start())),
            Handler(queue.QUEUE_STOP, _done(lambda _: runner.stop())),
            Handler(queue.QUEUE_STOP_CANCEL, _done(lambda _: runner.stop(cancel=True))),
            Handler(queue.QUEUE_AUTOSTART, _done(lambda request: runner.set_autostart(enable=request.enable))),
            Handler(engine.RE_PAUSE, _done(lambda request: control.pause(request.option))),
            Handler(engine.RE_RESUME, _done(lambda _: control.go_on("resume"))),
            Handler(engine.RE_STOP, _done(lambda _: control.go_on("stop"))),
            Handler(engine.RE_ABORT, self.abort),
            Handler(engine.RE_HALT, _done(lambda _: control.go_on("halt"))),
            Handler(engine.RE_RUNS, self.list_runs),
            Handler(engine.RE_METADATA, self.get_metadata),
            Handler(engine.KERNEL_INTERRUPT, self.interrupt),
        ]

    async def abort(self, request: engine.ReAbort) -> engine.ReAborted:
        """End a plan as a failure."""
        return engine.ReAborted(steps=await self._manager.engine.abort(now=request.now))

    async def list_runs(self, request: engine.ReRuns) -> engine.RunList:
        """List the runs of the running plan."""
        runs = self._manager.situation.runs(request.option)
        return engine.RunList(run_list=runs, run_list_uid=self._status.run_list_uid)

    async def get_metadata(self, _: Empty) -> engine.ReMetadata:
        """Read the metadata of the Run Engine."""
        return engine.ReMetadata(re_metadata=await self._manager.engine.metadata())

    async def interrupt(self, request: engine.KernelInterrupt) -> Nothing:
        """Send Ctrl-C to the IPython kernel."""
        await self._manager.engine.interrupt(
            interrupt_task=request.interrupt_task, interrupt_plan=request.interrupt_plan
        )
        return Nothing()


def _done(act: Callable[[Any], Awaitable[None]]) -> Callable[[Message], Awaitable[Nothing]]:
    """Answer only that it is done."""

    async def answer(request: Message) -> Nothing:
        await act(request)
        return Nothing()

    return answer
