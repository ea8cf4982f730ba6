"""Loads devices from happi (https://github.com/pcdshub/happi) for startup code; sites that use it have it installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_NEW_NAME = re.compile(r"[a-z][_a-z0-9]*")


class _Wanted(NamedTuple):
    """A device, and how it is called here."""

    in_database: str
    here: str


def load_devices_from_happi(device_names: Iterable[Any], *, namespace: dict[str, Any], **search: Any) -> list[str]:
    """Put devices into a namespace, as bluesky-queueserver's function of this name does.

    happi finds its database by the configuration that `HAPPI_CFG` names.

    Args:
        device_names: Each a name, or a pair of the name in the database and the name that the device gets here
            (empty: the same).
        namespace: Filled in place, for instance `globals()`.
        search: What else the entry in the database must say.

    Returns:
        The names in the namespace.

    Raises:
        TypeError: An argument is none of these.
        RuntimeError: There is no such device, or more than one.
    """
    if not isinstance(namespace, dict):
        raise TypeError(f"namespace must be a dictionary, such as globals(), not {type(namespace).__name__}")
    if not isinstance(device_names, list | tuple):
        raise TypeError(f"device_names must be a list of names or pairs of names, not {type(device_names).__name__}")
    wanted = [_wanted(given) for given in device_names]
    import happi

    client = happi.Client.from_config()
    items = [_find(client, one, search) for one in wanted]
    devices = vars(happi.load_devices(*items))
    namespace.update(devices)
    return list(devices)


def _wanted(given: Any) -> _Wanted:
    if isinstance(given, str):
        return _Wanted(given, "")
    match given:
        case [str(in_database), str(here)]:
            if here and not _NEW_NAME.fullmatch(here):
                raise TypeError(
                    f"device {in_database!r} cannot be called {here!r} here: "
                    "a name has lowercase letters, digits and '_', and begins with a letter"
                )
            return _Wanted(in_database, here)
    raise TypeError(f"device_names must hold names or pairs of names, not {given!r}")


def _find(client: Any, wanted: _Wanted, search: Mapping[str, Any]) -> Any:
    """Return the entry of a device, under its new name."""
    found = client.search(**{**search, "name": wanted.in_database})
    if len(found) != 1:
        number = "no device" if not found else f"{len(found)} devices"
        raise RuntimeError(f"happi has {number} named {wanted.in_database!r} ({dict(search) or 'no other condition'})")
    item = found[0].item
    if wanted.here:
        item.name = wanted.here  # its arguments refer to it as `{{name}}`
    return item
