"""Who answers the endpoints of tasks."""

from __future__ import annotations

from typing import Any

from skybus.bus.api import tasks
from skybus.bus.api.internal import FunctionTask, ScriptTask, TaskRun
from skybus.bus.service import Handler
from skybus.queue.item_check import ItemCheck
from skybus.queue.records import new_uid
from skybus.queue.tasks import Tasks


class TaskHandlers:
    """Starts tasks and says what came of them."""

    def __init__(self, running: Tasks, check: ItemCheck) -> None:
        self._tasks = running
        self._check = check

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(tasks.SCRIPT_UPLOAD, self.upload_script),
            Handler(tasks.FUNCTION_EXECUTE, self.execute_function),
            Handler(tasks.ENVIRONMENT_UPDATE, self.update_environment),
            Handler(tasks.TASK_STATUS, self.get_status),
            Handler(tasks.TASK_RESULT, self.get_result),
        ]

    async def upload_script(self, request: tasks.ScriptUpload) -> tasks.TaskStarted:
        """Run a script."""
        script = ScriptTask(script=request.script, update_lists=request.update_lists, update_re=request.update_re)
        return await self._run_script(script, run_in_background=request.run_in_background)

    async def update_environment(self, request: tasks.EnvironmentUpdate) -> tasks.TaskStarted:
        """Describe plans and devices anew."""
        nothing = ScriptTask(script="", update_lists=True, update_re=True)
        return await self._run_script(nothing, run_in_background=request.run_in_background)

    async def execute_function(self, request: tasks.FunctionExecute) -> tasks.FunctionStarted:
        """Call a function."""
        item = await self._check.one(request.item, request)
        function = FunctionTask(name=request.item.name, args=request.item.args, kwargs=request.item.kwargs)
        uid = item["item_uid"]
        order = TaskRun(task_uid=uid, task=function, run_in_background=request.run_in_background)
        started = tasks.FunctionStarted(task_uid=uid, item=item)
        return await self._tasks.start(order, started)

    async def get_status(self, request: tasks.TaskStatusGet) -> tasks.TaskStatuses:
        """Say where tasks are."""
        return tasks.TaskStatuses(statuses=await self._tasks.statuses(request.task_uids))

    async def get_result(self, request: tasks.TaskResultGet) -> tasks.TaskResult:
        """Say what came of a task."""
        return await self._tasks.result(request.task_uid)

    async def _run_script(self, script: ScriptTask, *, run_in_background: bool) -> tasks.TaskStarted:
        order = TaskRun(task_uid=new_uid(), task=script, run_in_background=run_in_background)
        return await self._tasks.start(order, tasks.TaskStarted(task_uid=order.task_uid))
