"""How a coroutine function becomes a command: a connection, the common options, errors as one line."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from skybus.bus.errors import SkybusError
from skybus.bus.runtime import run_loop
from skybus.cli.hints import sentence
from skybus.cli.output import Output, complain
from skybus.client.client import Client

Work = Callable[..., Awaitable[None]]

_COMMON: dict[str, Any] = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print JSON.")],
    "data_dir": Annotated[Path | None, typer.Option(help="Where the stack lives; by default SKYBUS_DATA_DIR.")],
    "user": Annotated[str | None, typer.Option(help="Whose credentials to use; by default the operator's.")],
}
_DEFAULTS = {"as_json": False, "data_dir": None, "user": None}

VERBATIM = {"ignore_unknown_options": True}
"""For commands with arguments that may begin with `-`, such as negative numbers."""


def add_command(app: typer.Typer, work: Work, name: str, *, verbatim: bool = False) -> None:
    """Make a command of `async def work(client, out, ...)`; what follows the two are its parameters."""

    def command(**given: Any) -> None:
        as_json, data_dir, user = (given.pop(option) for option in _COMMON)
        _run(_connected(work, Output(as_json=as_json), data_dir, user, given))

    hints = get_type_hints(work, include_extras=True)
    own = list(inspect.signature(work).parameters.values())[2:]
    parameters = [parameter.replace(annotation=hints[parameter.name], kind=_KEYWORD) for parameter in own]
    parameters += [
        inspect.Parameter(option, _KEYWORD, default=_DEFAULTS[option], annotation=_COMMON[option]) for option in _COMMON
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = work.__doc__
    app.command(name, context_settings=VERBATIM if verbatim else None)(command)


def add_act(app: typer.Typer, act: Callable[[Client], Awaitable[None]], name: str, said: str) -> None:
    """Make a command of a method of the client that only does something; `said` is printed when it is done."""

    async def work(client: Client, out: Output) -> None:
        await act(client)
        out.said(said)

    work.__doc__ = act.__doc__
    add_command(app, work, name)


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


async def _connected(work: Work, out: Output, data_dir: Path | None, user: str | None, given: dict[str, Any]) -> None:
    settings = {name: value for name, value in (("data_dir", data_dir), ("user", user)) if value is not None}
    async with Client.connect(**settings) as client:
        client.tell_waiting = _Patience(client.settings.request_timeout).tell
        await work(client, out, **given)


class _Patience:
    """Tells people, once, that a command waits for an answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_told = False

    def tell(self, why: str) -> None:
        if not self._is_told:
            complain(f"skybus: {why}; trying for {self._seconds:g} s, Ctrl-C ends it", "yellow")
        self._is_told = True


def _run(main: Awaitable[None]) -> None:
    try:
        run_loop(main)
    except (SkybusError, TimeoutError) as error:
        complain(f"skybus: {sentence(error)}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:  # whoever read our output has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def group(help_: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(no_args_is_help=True, help=help_)
