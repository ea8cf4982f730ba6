"""The settings of `skybus re-manager`, taken from the command line, the configuration and the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skybus.bus.errors import InvalidError, NotFoundError
from skybus.cli.manager.config_file import read_config
from skybus.cli.manager.option import Kind, Option
from skybus.cli.manager.options import BY_NAME, CONFIG_VARIABLE, LOG_LEVELS, OPTIONS
from skybus.cli.manager.place import Place, place_of
from skybus.cli.startup_code import require_startup_folder
from skybus.stack.private_file import write_private
from skybus.stack.startup import EXISTING_FILE, PERMISSIONS_FILE

SAVE_TO = "QSERVER_SETTINGS_SAVE_TO_FILE"
"""Names a file that gets the settings, in the reference's words and secrets included; its tests read it."""
_IP_ADDRESS = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")


@dataclass(frozen=True)
class Settings:
    """What `skybus re-manager` was asked for, in the reference's words."""

    values: Mapping[str, Any]
    """By the names of options; `None` where nothing was given and there is no default."""
    place: Place
    has_own_permissions: bool = False
    """Somebody has named the file of permissions."""
    remarks: list[str] = field(default_factory=list)
    """What its user should know."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def as_reference(self) -> dict[str, Any]:
        """All settings, as the reference would save them."""
        values = {name: value for name, value in self.values.items() if name != "keep_re"}
        place = {name: value for name, value in asdict(self.place).items() if name != "beside"}
        return {**values, **place, "console_logging_level": LOG_LEVELS[self["console_logging_level"]]}


def settle(flags: Mapping[str, Any], environ: Mapping[str, str], simulated: Path, remarks: list[str]) -> Settings:
    """Decide on each setting: the command line wins over the configuration, that over the environment.

    Args:
        flags: as `parse` returns them.
        environ: the environment variables.
        simulated: the startup directory that is taken where nothing is given.
        remarks: made so far.

    Raises:
        InvalidError: a value is not right, or values contradict each other.
        NotFoundError: something that is named does not exist.
    """
    path = flags.get("config") or environ.get(CONFIG_VARIABLE)
    file = read_config(Path(path)) if path else {}
    variables = _read_variables(environ, remarks)
    defaults = {option.name: option.default for option in OPTIONS}
    values = {**defaults, **variables, **file, **{name: flags[name] for name in flags if name in BY_NAME}}
    if values["keep_re"] is not None:
        remarks.append("keep_re is deprecated and has no effect: the Run Engine is always the one of the startup code")
    place = place_of(flags, file, simulated, kernel=values["use_ipython_kernel"])
    has_own_permissions = bool(values["user_group_permissions_path"])
    for name, default_name in (
        ("existing_plans_and_devices_path", EXISTING_FILE),
        ("user_group_permissions_path", PERMISSIONS_FILE),
    ):
        values[name] = _file(name, values[name] or place.beside, default_name)
    values |= {name: value for name, value in asdict(place).items() if name in values}
    _check(values, place, remarks)
    return Settings(values, place, has_own_permissions, remarks)


def save(settings: Settings, path: str) -> None:
    """Write the settings into a file that nobody else can read."""
    import yaml

    write_private(Path(path).expanduser(), yaml.safe_dump(settings.as_reference()))


def _read_variables(environ: Mapping[str, str], remarks: list[str]) -> dict[str, Any]:
    values = {}
    for option in OPTIONS:
        name = next((name for name in option.variables if _is_set(option, environ.get(name))), None)
        if name is None:
            continue
        if name == option.old_variable:
            remarks.append(f"{name} is deprecated: use {option.variable}")
        value = option.from_text(environ[name], name)
        if value is None:
            remarks.append(f"{name} is {environ[name]!r}, which is neither ON nor OFF: it is not looked at")
        else:
            values[option.name] = value
    return values


def _is_set(option: Option, text: str | None) -> bool:
    """An empty variable gives nothing, but for a list: there it is an empty one."""
    return bool(text) or (text is not None and option.kind == Kind.WORDS)


def _file(name: str, path: str | None, default_name: str) -> str:
    if not path:
        raise NotFoundError(
            f"{BY_NAME[name].flags[0]} must be given: with a startup module or script alone there is no directory "
            f"in which {default_name} is looked for"
        )
    full = Path(path).expanduser().absolute()
    return str(full if path.endswith(".yaml") else full / default_name)


def _check(values: Mapping[str, Any], place: Place, remarks: list[str]) -> None:
    kernel = values["use_ipython_kernel"]
    if not (place.demo_mode and kernel):  # whose profile is made later
        require_startup_folder(place, kernel=kernel)
    folder = Path(values["existing_plans_and_devices_path"]).parent
    if not place.demo_mode and not folder.is_dir():
        raise NotFoundError(
            f"the directory {folder} for the list of plans and devices does not exist: make it, or name another with "
            "--existing-plans-devices"
        )
    address = values["ipython_kernel_ip"]
    if address not in ("localhost", "auto") and not _IP_ADDRESS.fullmatch(address):
        remarks.append(f"--ipython-kernel-ip={address}: localhost, auto or an IPv4 address was expected")
    if values["zmq_private_key"] is not None:
        check_key(values["zmq_private_key"])


def check_key(key: str) -> None:
    """Check a private key.

    Raises:
        InvalidError: it is none; the error does not show it.
    """
    import zmq

    try:
        zmq.curve_public(key.encode())
    except (zmq.ZMQError, ValueError):
        raise InvalidError(
            f"the 0MQ private key has {len(key)} characters or is not written in Z85: 40 are needed; "
            "`skybus zmq-keys` makes one"
        ) from None
