"""`skybus task`: scripts and functions that the environment runs besides plans."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from skybus.cli.arguments import split_arguments
from skybus.cli.commands import add_command, group
from skybus.cli.output import Output, complain
from skybus.client.client import Client
from skybus.client.task_calls import TaskFailedError

Background = Annotated[bool, typer.Option("--background", help="Beside a plan or another task.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is over.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = group("Scripts and functions that the environment runs besides plans.")
    add_command(commands, script, "script")
    add_command(commands, function, "function", verbatim=True)
    add_command(commands, update, "update")
    add_command(commands, result, "result")
    app.add_typer(commands, name="task")


async def script(
    client: Client,
    out: Output,
    file: Annotated[typer.FileText, typer.Argument(help="Python code; - is standard input.")],
    update_lists: Annotated[bool, typer.Option(help="Then describe plans and devices anew.")] = True,
    update_re: Annotated[bool, typer.Option("--update-re", help="Take over a RunEngine `RE` that it makes.")] = False,
    background: Background = False,
    wait: Wait = True,
) -> None:
    """Run Python code in the environment: skybus task script fix.py."""
    uid = await client.run_script(file.read(), update_lists=update_lists, update_re=update_re, in_background=background)
    await _follow(client, out, uid, wait=wait)


async def function(
    client: Client,
    out: Output,
    name: Annotated[str, typer.Argument(help="The function's name.")],
    words: Annotated[list[str] | None, typer.Argument(help="Arguments, JSON or plain words, then key=value.")] = None,
    background: Background = False,
    wait: Wait = True,
) -> None:
    """Call a function of the startup code: skybus task function home_all speed=2."""
    args, kwargs = split_arguments(words or [])
    uid = await client.run_function(name, args, kwargs, in_background=background)
    await _follow(client, out, uid, wait=wait)


async def update(client: Client, out: Output, background: Background = False, wait: Wait = True) -> None:
    """Describe plans and devices anew, as after work in a console."""
    await _follow(client, out, await client.update_environment(in_background=background), wait=wait)


async def result(
    client: Client,
    out: Output,
    task_uid: Annotated[str, typer.Argument(help="The uid that was printed when the task began.")],
    wait: Wait = False,
) -> None:
    """Show what came of a task."""
    if not wait and (await client.task(task_uid)).status == "running":
        out.said("the task is running", task_uid=task_uid)
        return
    await _show_outcome(client, out, task_uid)


async def _follow(client: Client, out: Output, task_uid: str, *, wait: bool) -> None:
    if wait:
        await _show_outcome(client, out, task_uid)
        return
    out.said(f"the task has begun; `skybus task result {task_uid}` says what comes of it", task_uid=task_uid)


async def _show_outcome(client: Client, out: Output, task_uid: str) -> None:
    try:
        returned: Any = await client.wait_task(task_uid)
    except TaskFailedError as error:
        complain(error.details["traceback"], None, lines=True)
        raise
    words = "the task is done" if returned is None else f"the task is done, it returned {returned!r}"
    out.said(words, task_uid=task_uid, return_value=returned)
