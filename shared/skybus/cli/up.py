"""`skybus up`: the whole stack on one machine."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from skybus.bus.errors import SkybusError
from skybus.bus.logs import start_logging
from skybus.bus.settings import DEFAULT_INSTRUMENT, default_data_dir
from skybus.cli.manager.place import Place
from skybus.cli.refusal import refuse
from skybus.cli.startup_code import require_startup_code, require_startup_folder
from skybus.cli.up_options import folder_of, shared_option, shared_settings
from skybus.stack.startup import existing_beside, permissions_beside
from skybus.stack.up import ENVIRONMENT_USER, UpOptions, run_stack

SOCKET_MODE = "SKYBUS_ZMQ_SOCKET_MODE"


class LogLevel(StrEnum):
    """From where on a log tells."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


def up(
    context: typer.Context,
    data_dir: Annotated[Path | None, typer.Option(envvar="SKYBUS_DATA_DIR", help="Where everything lives.")] = None,
    instrument: Annotated[
        str, typer.Option(envvar="SKYBUS_INSTRUMENT", help="Name of the instrument, part of every subject.")
    ] = DEFAULT_INSTRUMENT,
    startup_dir: Annotated[
        Path | None, typer.Option(envvar="SKYBUS_STARTUP_DIR", help="Startup code: a directory of *.py files.")
    ] = None,
    startup_script: Annotated[
        Path | None, typer.Option(envvar="SKYBUS_STARTUP_SCRIPT", help="Startup code: one file.")
    ] = None,
    startup_module: Annotated[
        str | None, typer.Option(envvar="SKYBUS_STARTUP_MODULE", help="Startup code: a module.")
    ] = None,
    startup_profile: Annotated[str | None, shared_option("startup_profile")] = None,
    ignore_invalid_plans: Annotated[
        str | None, shared_option("ignore_invalid_plans", "By default they are listed without what is not described.")
    ] = None,
    use_ipython_kernel: Annotated[str | None, shared_option("use_ipython_kernel")] = None,
    ipython_dir: Annotated[Path | None, shared_option("ipython_dir")] = None,
    ipython_matplotlib: Annotated[str | None, shared_option("ipython_matplotlib")] = None,
    ipython_kernel_ip: Annotated[str | None, shared_option("ipython_kernel_ip")] = None,
    ipython_connection_file: Annotated[str | None, shared_option("ipython_connection_file")] = None,
    ipython_connection_dir: Annotated[str | None, shared_option("ipython_connection_dir")] = None,
    ipython_shell_port: Annotated[str | None, shared_option("ipython_shell_port")] = None,
    ipython_iopub_port: Annotated[str | None, shared_option("ipython_iopub_port")] = None,
    ipython_stdin_port: Annotated[str | None, shared_option("ipython_stdin_port")] = None,
    ipython_hb_port: Annotated[str | None, shared_option("ipython_hb_port")] = None,
    ipython_control_port: Annotated[str | None, shared_option("ipython_control_port")] = None,
    user_group_permissions: Annotated[
        Path | None, typer.Option(help="By default user_group_permissions.yaml beside the startup code.")
    ] = None,
    environment_python: Annotated[
        Path | None,
        typer.Option(
            envvar="SKYBUS_ENVIRONMENT_PYTHON",
            help="The Python in which environments run, with skybus[worker]; by default this one.",
        ),
    ] = None,
    environment_user: Annotated[
        str | None,
        typer.Option(
            envvar=ENVIRONMENT_USER,
            help="The account in which plan code runs, for root only; by default this one.",
        ),
    ] = None,
    nats_port: Annotated[int | None, typer.Option(help="Port of NATS; by default 4222 or the next free one.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Use this Redis or Valkey instead of starting one.")] = None,
    zmq_control_addr: Annotated[
        str | None,
        typer.Option(
            help="0MQ control socket, such as tcp://127.0.0.1:60615; by default one that only this account can open."
        ),
    ] = None,
    zmq_info_addr: Annotated[
        str | None,
        typer.Option(
            help="0MQ info socket, such as tcp://127.0.0.1:60625; by default one that only this account can open."
        ),
    ] = None,
    standby: Annotated[
        bool,
        typer.Option(
            "--standby", envvar="SKYBUS_STANDBY", help="Have a second queue service wait, to take over within seconds."
        ),
    ] = False,
    log_level: Annotated[
        LogLevel, typer.Option(envvar="SKYBUS_LOG_LEVEL", help="What is written into the logs.")
    ] = LogLevel.INFO,
) -> None:
    """Start NATS, Valkey and all services here, and stop them on Ctrl-C."""
    start_logging("up", log_level)
    try:
        shared = shared_settings(context.params)
        place = Place(
            startup_dir=_absolute(startup_dir),
            startup_module=startup_module,
            startup_script=_absolute(startup_script),
            startup_profile=startup_profile,
            ipython_dir=_absolute(ipython_dir),
        )
        kernel = shared.get("SKYBUS_USE_IPYTHON_KERNEL") == "true"
        require_startup_folder(place, kernel=kernel)
        python = environment_python and environment_python.expanduser().absolute()
        require_startup_code(place, python, kernel=kernel)
        folder = folder_of(place)
        settings = {
            "SKYBUS_INSTRUMENT": instrument,
            "SKYBUS_STARTUP_DIR": place.startup_dir,
            "SKYBUS_STARTUP_MODULE": place.startup_module,
            "SKYBUS_STARTUP_SCRIPT": place.startup_script,
            "SKYBUS_STARTUP_PROFILE": place.startup_profile,
            "SKYBUS_IPYTHON_DIR": place.ipython_dir,
            **shared,
            "SKYBUS_ENVIRONMENT_PYTHON": python,
            "SKYBUS_USER_GROUP_PERMISSIONS": (
                user_group_permissions.resolve() if user_group_permissions else permissions_beside(folder)
            ),
            "SKYBUS_EXISTING_PLANS_AND_DEVICES": existing_beside(folder),
            "SKYBUS_LOG_LEVEL": log_level,
            SOCKET_MODE: os.environ.get(SOCKET_MODE, "600"),
        }
        options = UpOptions(
            data_dir=data_dir or default_data_dir(),
            instrument=instrument,
            nats_port=nats_port,
            redis_url=redis_url,
            standby=standby,
            zmq_control_addr=zmq_control_addr,
            zmq_info_addr=zmq_info_addr,
            environment_user=environment_user,
            environment={name: str(value) for name, value in settings.items() if value},
        )
        asyncio.run(run_stack(options))
    except SkybusError as error:
        refuse("up", error.message)


def _absolute(path: Path | None) -> str | None:
    return str(path.expanduser().absolute()) if path else None
