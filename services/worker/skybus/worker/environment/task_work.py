"""What a task does in the namespace; all of it runs in the thread of the task."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from skybus.bus.api.internal import FunctionTask, ScriptTask, TaskRun
from skybus.bus.errors import InvalidError, NotFoundError
from skybus.worker.environment.space import Space


def work_of(request: TaskRun, space: Space) -> Callable[[], Any]:
    """What is to be done for a task."""

    def work() -> Any:
        if request.run_in_background:
            _use_loop_of(space)
        match request.task:
            case ScriptTask():
                return run_script_task(request.task, space)
            case FunctionTask():
                return call_function(request.task, space.namespace)

    return work


def run_script_task(task: ScriptTask, space: Space) -> None:
    """Run the script, then take over what it has made; a script that fails leaves the catalogue as it was."""
    if task.script:
        space.run_script(task.script, update_re=task.update_re)
    if task.update_re:
        space.take_engine()
    if task.update_lists:
        space.describe_anew()


def call_function(task: FunctionTask, namespace: Mapping[str, Any]) -> Any:
    """Call a function by its name.

    Raises:
        NotFoundError: there is nothing of that name.
        InvalidError: it is no function, or a plan.
    """
    if task.name not in namespace:
        raise NotFoundError(f"Function {task.name!r} is not found in the worker namespace")
    function = namespace[task.name]
    if not callable(function):
        raise InvalidError(f"Object {task.name!r} defined in worker namespace is not callable")
    if inspect.isgeneratorfunction(function):
        raise InvalidError(f"Object {task.name!r} defined in worker namespace is a generator function")
    return function(*task.args, **task.kwargs)


def _use_loop_of(space: Space) -> None:
    """Let code that asks for the thread's event loop get the RunEngine's, as in the main thread."""
    if space.engine is not None:
        asyncio.set_event_loop(space.engine.run_engine.loop)
