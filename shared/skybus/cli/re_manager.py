"""`skybus re-manager`: the stack under the flags of the reference's `start-re-manager`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from skybus.bus.errors import InvalidError, SkybusError
from skybus.bus.logs import start_logging
from skybus.bus.settings import default_data_dir
from skybus.stack.startup import existing_beside, permissions_beside
from skybus.stack.up import UpOptions, run_stack


class OnOff(StrEnum):
    """How the reference writes a yes or no."""

    ON = "ON"
    OFF = "OFF"


def re_manager(
    zmq_control_addr: Annotated[str, typer.Option(help="0MQ control socket.")] = "tcp://*:60615",
    zmq_info_addr: Annotated[str, typer.Option(help="0MQ info socket.")] = "tcp://*:60625",
    zmq_encoding: Annotated[str, typer.Option(help="Only 'json' so far.")] = "json",
    zmq_publish_console: Annotated[OnOff, typer.Option(help="Console output is always published.")] = OnOff.ON,
    console_output: Annotated[OnOff, typer.Option(help="The worker's output is in the console stream.")] = OnOff.ON,
    startup_dir: Annotated[Path | None, typer.Option(help="Startup code: a directory.")] = None,
    startup_script: Annotated[Path | None, typer.Option(help="Startup code: one file.")] = None,
    startup_module: Annotated[str | None, typer.Option(help="Startup code: a module.")] = None,
    user_group_permissions: Annotated[Path | None, typer.Option(help="user_group_permissions.yaml.")] = None,
    user_group_permissions_reload: Annotated[
        str, typer.Option(help="When the permissions file is read.")
    ] = "ON_STARTUP",
    existing_plans_devices: Annotated[Path | None, typer.Option(help="existing_plans_and_devices.yaml.")] = None,
    redis_addr: Annotated[str, typer.Option(help="host, host:port or host:port/db.")] = "localhost",
    redis_name_prefix: Annotated[str, typer.Option(help="Prefix of the keys.")] = "qs_default",
    keep_re: Annotated[bool, typer.Option("--keep-re", help="Without effect, as in the reference.")] = False,
    use_ipython_kernel: Annotated[OnOff, typer.Option(help="Only OFF so far.")] = OnOff.OFF,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log less.")] = False,
    silent: Annotated[bool, typer.Option("--silent", help="Log errors only.")] = False,
) -> None:
    """Start everything with the flags of the reference's start-re-manager (not all of them yet)."""
    level = "debug" if verbose else "warning" if quiet else "error" if silent else "info"
    start_logging("re-manager", level)
    try:
        _refuse_what_is_missing(zmq_encoding, use_ipython_kernel)
        settings = {
            "SKYBUS_STARTUP_DIR": startup_dir,
            "SKYBUS_STARTUP_SCRIPT": startup_script,
            "SKYBUS_STARTUP_MODULE": startup_module,
            "SKYBUS_USER_GROUP_PERMISSIONS": user_group_permissions or permissions_beside(startup_dir),
            "SKYBUS_EXISTING_PLANS_AND_DEVICES": existing_plans_devices or existing_beside(startup_dir),
            "SKYBUS_USER_GROUP_PERMISSIONS_RELOAD": user_group_permissions_reload,
            "SKYBUS_REDIS_PREFIX": redis_name_prefix,
            "SKYBUS_LOG_LEVEL": level,
        }
        options = UpOptions(
            data_dir=default_data_dir(),
            redis_url=f"redis://{redis_addr}",
            zmq_control_addr=zmq_control_addr,
            zmq_info_addr=zmq_info_addr,
            environment={name: str(value) for name, value in settings.items() if value},
        )
        asyncio.run(run_stack(options))
    except SkybusError as error:
        typer.secho(f"skybus re-manager: {error.message}", fg="red", err=True)
        raise typer.Exit(1) from None


def _refuse_what_is_missing(zmq_encoding: str, use_ipython_kernel: OnOff) -> None:
    if zmq_encoding != "json":
        raise InvalidError(f"--zmq-encoding={zmq_encoding} is not there yet: only json")
    if use_ipython_kernel == OnOff.ON:
        raise InvalidError("--use-ipython-kernel=ON is not there yet")
