"""`skybus re-manager`: the stack under the options, variables and configuration files of `start-re-manager`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import structlog
import typer

from skybus.bus.errors import SkybusError
from skybus.bus.logs import lines, start_logging
from skybus.bus.settings import DEFAULT_INSTRUMENT, default_data_dir
from skybus.cli.manager.option import yes_or_no
from skybus.cli.manager.options import BY_NAME, OPTIONS
from skybus.cli.manager.parser import parse
from skybus.cli.manager.services import up_options
from skybus.cli.manager.settings import SAVE_TO, Settings, save, settle
from skybus.cli.refusal import refuse
from skybus.cli.startup_code import require_startup_code
from skybus.stack.startup import make_demo_profile, simulated_dir
from skybus.stack.up import ENVIRONMENT_USER, run_stack

log = structlog.get_logger()

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""For click: all words are ours."""
INSTRUMENT, STANDBY = "SKYBUS_INSTRUMENT", "SKYBUS_STANDBY"


def re_manager(context: typer.Context) -> None:
    """Start everything with the options of the reference's start-re-manager; --help lists them."""
    try:
        flags, remarks = parse(context.args)
        settings = settle(flags, os.environ, simulated_dir(), remarks)
        python = os.environ.get("SKYBUS_ENVIRONMENT_PYTHON")
        require_startup_code(
            settings.place, Path(python).expanduser() if python else None, kernel=settings["use_ipython_kernel"]
        )
        _run(settings, default_data_dir().absolute())
    except SkybusError as error:
        refuse("re-manager", error.message)


def _run(settings: Settings, data_dir: Path) -> None:
    standby = bool(yes_or_no(os.environ.get(STANDBY, "")))
    options = up_options(settings, data_dir, os.environ.get(INSTRUMENT) or DEFAULT_INSTRUMENT, standby=standby)
    options = replace(options, environment_user=os.environ.get(ENVIRONMENT_USER))
    level = BY_NAME["console_logging_level"].for_services(settings["console_logging_level"])
    if os.environ.get(SAVE_TO):
        save(settings, os.environ[SAVE_TO])
    if settings.place.demo_mode and settings["use_ipython_kernel"]:
        make_demo_profile(Path(settings.place.beside or ""))
    _forget_secrets()
    prints = settings["print_console_output"]
    with _log_output(data_dir, prints=prints) as output:
        start_logging("re-manager", level)
        lines.output = output
        for remark in settings.remarks:
            log.warning(remark)
        born = time.time()
        asyncio.run(run_stack(options, (lambda: _print_console(data_dir, born)) if prints else None))


async def _print_console(data_dir: Path, since: float) -> None:
    from skybus.cli.manager.console_printer import print_console  # loaded when everything else has been started

    await print_console(data_dir, since)


def _forget_secrets() -> None:
    """Take keys out of the environment, which all our processes inherit, down to plan code."""
    for option in OPTIONS:
        if option.service:
            for name in option.variables:
                os.environ.pop(name, None)


@contextmanager
def _log_output(data_dir: Path, *, prints: bool) -> Iterator[TextIO]:
    """Where our own log goes: beside the console output, or into a file when nothing is to be printed."""
    if prints:
        yield sys.stdout
        return
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
    with (data_dir / "logs" / "re-manager.log").open("a") as file:
        yield file
