"""From the settings of `skybus re-manager` to what the stack and its services are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from skybus.bus.errors import InvalidError
from skybus.cli.manager.options import OPTIONS
from skybus.cli.manager.place import profile_dir
from skybus.cli.manager.settings import Settings
from skybus.stack.addresses import without_password
from skybus.stack.startup import BUILT_IN
from skybus.stack.up import UpOptions

SENTINELS = "redis+sentinel"
REDIS_SCHEMES = ("redis", "rediss", "unix", SENTINELS)
_WORKER, _AUTH, _EVERYBODY = "worker", "auth", ""


def up_options(settings: Settings, data_dir: Path, instrument: str, *, standby: bool = False) -> UpOptions:
    """What the stack is asked for."""
    environments: dict[str, dict[str, str]] = {}
    for service, name, value in (*_from_table(settings), *_from_place(settings)):
        environments.setdefault(service, {})[name] = value
    return UpOptions(
        data_dir=data_dir,
        instrument=instrument,
        redis_url=redis_url(settings["redis_addr"]),
        standby=standby,
        zmq_control_addr=settings["zmq_control_addr"],
        zmq_info_addr=settings["zmq_info_addr"],
        publishes=settings["zmq_publish_console"],
        announces=settings["print_console_output"],
        environment={"SKYBUS_INSTRUMENT": instrument, **environments.pop(_EVERYBODY, {})},
        environments=environments,
    )


def redis_url(address: str) -> str:
    """The URL of a Redis that is given as the reference has it, or as a URL.

    Raises:
        InvalidError: it is neither.
    """
    url = address if "://" in address else f"redis://{address}"
    try:
        parts = urlsplit(url)
        if parts.scheme != SENTINELS:  # which have a port each
            _ = parts.port
    except ValueError as error:
        raise InvalidError(f"--redis-addr: {without_password(address)!r} is no address: {error}") from None
    if parts.scheme not in REDIS_SCHEMES:
        raise InvalidError(f"--redis-addr begins with {parts.scheme}://; {', '.join(REDIS_SCHEMES)} are possible")
    return url


def _from_table(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for option in OPTIONS:
        value = settings[option.name]
        if option.setting and value is not None:
            yield option.service, option.setting, option.for_services(value)


def _from_place(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Where the startup code is and what lies beside it; nothing is written beside the built-in one."""
    place, kernel = settings.place, settings["use_ipython_kernel"]
    given = {
        "STARTUP_DIR": place.startup_dir if not kernel else None,
        "STARTUP_MODULE": place.startup_module,
        "STARTUP_SCRIPT": place.startup_script,
        "STARTUP_PROFILE": place.startup_profile if kernel else None,
        "IPYTHON_DIR": place.ipython_dir if kernel else None,
        "SCRIPT_ROOT": profile_dir(place.startup_profile, place.ipython_dir) if place.startup_module else None,
    }
    yield from ((_WORKER, f"SKYBUS_{name}", value) for name, value in given.items() if value)
    existing = Path(settings["existing_plans_and_devices_path"])
    if existing.parent != BUILT_IN:
        yield _EVERYBODY, "SKYBUS_EXISTING_PLANS_AND_DEVICES", str(existing)
    permissions = settings["user_group_permissions_path"]
    if settings.has_own_permissions or Path(permissions).exists():
        yield _AUTH, "SKYBUS_USER_GROUP_PERMISSIONS", permissions
