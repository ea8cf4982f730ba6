"""Scripts and functions that the environment runs besides plans, as methods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from skybus.bus.api.tasks import (
    ENVIRONMENT_UPDATE,
    FUNCTION_EXECUTE,
    SCRIPT_UPLOAD,
    TASK_RESULT,
    EnvironmentUpdate,
    FunctionExecute,
    ScriptUpload,
    TaskResult,
    TaskResultGet,
)
from skybus.bus.errors import NotFoundError, SkybusError
from skybus.client.calls import Calls
from skybus.client.queue_calls import made


class TaskFailedError(SkybusError):
    """A task has failed; `details["traceback"]` says where."""


class TaskCalls(Calls):
    """What one has the environment do besides plans; each is a task, known by its uid.

    In the background a task runs beside a plan or another task, otherwise it needs an idle environment.
    """

    async def run_script(
        self, script: str, *, update_lists: bool = True, update_re: bool = False, in_background: bool = False
    ) -> str:
        """Begin to run Python code in the namespace of the environment, and return the uid of the task.

        Args:
            script: the code.
            update_lists: afterwards, describe plans and devices anew.
            update_re: let a RunEngine `RE` that the script makes take the place of the present one.
            in_background: see above.
        """
        request = made(
            ScriptUpload,
            script=script,
            update_lists=update_lists,
            update_re=update_re,
            run_in_background=in_background,
        )
        return (await self.call(SCRIPT_UPLOAD, request)).task_uid

    async def run_function(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        in_background: bool = False,
    ) -> str:
        """Begin to call a function of the namespace, and return the uid of the task."""
        item = {"item_type": "function", "name": name, "args": list(args), "kwargs": dict(kwargs or {})}
        request = made(FunctionExecute, item=item, run_in_background=in_background)
        return (await self.call(FUNCTION_EXECUTE, request)).task_uid

    async def update_environment(self, *, in_background: bool = False) -> str:
        """Begin to describe plans and devices anew, and return the uid of the task."""
        request = EnvironmentUpdate(run_in_background=in_background)
        return (await self.call(ENVIRONMENT_UPDATE, request)).task_uid

    async def task(self, task_uid: str) -> TaskResult:
        """What is known of a task now; the result is kept for some minutes."""
        return await self.call(TASK_RESULT, TaskResultGet(task_uid=task_uid))

    async def wait_task(self, task_uid: str, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """Wait until a task is over, and return what it has returned.

        Raises:
            TaskFailedError: it has failed.
            NotFoundError: there is none with this uid, or its result is not kept any more.
            TimeoutError: it was not over within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                return _outcome(await self._ended(task_uid))
        except TimeoutError:
            raise TimeoutError(f"task {task_uid} was not over within {timeout:g} s") from None

    async def _ended(self, task_uid: str) -> TaskResult:
        results_uid = ""
        async with aclosing(self._watch.changes()) as statuses:
            async for status in statuses:
                if status.task_results_uid == results_uid:
                    continue
                results_uid = status.task_results_uid
                known = await self.task(task_uid)
                if known.status != "running":
                    return known
        raise AssertionError("the status never ends")


def _outcome(ended: TaskResult) -> Any:
    if ended.status == "not_found":
        raise NotFoundError(f"no task {ended.task_uid} is known: results are kept for some minutes")
    if not ended.result["success"]:
        raise TaskFailedError(ended.result["msg"], traceback=ended.result["traceback"])
    return ended.result["return_value"]
