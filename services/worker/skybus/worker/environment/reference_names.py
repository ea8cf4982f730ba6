"""A stand-in for the package `bluesky_queueserver`, so that startup code written for it runs unchanged."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from skybus.worker.environment.annotation import parameter_annotation_decorator
from skybus.worker.environment.happi_devices import load_devices_from_happi
from skybus.worker.environment.registry import REGISTRY
from skybus.worker.environment.user_namespace import USER_NAMESPACE, set_user_ns

PACKAGE = "bluesky_queueserver"
SPOKEN_VERSION = "0.0.25"
"""The version of bluesky-queueserver whose names are offered here."""

WORKER_ACTIVE = "_QSERVER_RE_WORKER_ACTIVE"
IPYTHON_MODE = "_QSERVER_RUNNING_IPYTHON_KERNEL"
"""Environment variables of bluesky-queueserver: child processes that use the real package read them."""

FALSE_WORDS = ("", "n", "no", "f", "false", "off", "0")

CLIENT_NAMES = {
    "CommTimeoutError": "comms",
    "ZMQCommSendAsync": "comms",
    "ZMQCommSendThreads": "comms",
    "generate_zmq_keys": "comms",
    "generate_zmq_public_key": "comms",
    "validate_zmq_key": "comms",
    "ReceiveConsoleOutput": "output_streaming",
    "ReceiveConsoleOutputAsync": "output_streaming",
    "ReceiveSystemInfo": "output_streaming",
    "ReceiveSystemInfoAsync": "output_streaming",
}
"""0MQ client classes that startup code may use to talk to a queue: they come from the real package, if installed."""


def install(*, ipython_mode: bool = False) -> None:
    """Put the stand-in into `sys.modules` and mark this process as the one that runs plans."""
    set_re_worker_active()
    set_ipython_mode(ipython_mode)
    package = _module(PACKAGE, _PUBLIC, path=_real_path(""))
    package.__dict__["__getattr__"] = _client_name
    package.__dict__["__version__"] = SPOKEN_VERSION
    manager = _module(f"{PACKAGE}.manager", {}, path=_real_path("manager"))
    package.__dict__["manager"] = manager
    for name, names in _SUBMODULES.items():
        manager.__dict__[name] = _module(f"{PACKAGE}.manager.{name}", names)


def is_re_worker_active() -> bool:
    """Tell whether this code runs where plans are run."""
    return os.environ.get(WORKER_ACTIVE, "").lower() not in FALSE_WORDS


def set_re_worker_active() -> None:
    """Mark this process, and its children, as one that runs plans."""
    os.environ[WORKER_ACTIVE] = "1"


def clear_re_worker_active() -> None:
    """Take the mark away."""
    os.environ.pop(WORKER_ACTIVE, None)


def is_ipython_mode() -> bool:
    """Tell whether this code runs in IPython: in the environment as it was opened, elsewhere as it is."""
    if is_re_worker_active() and IPYTHON_MODE in os.environ:
        return os.environ[IPYTHON_MODE].lower() not in FALSE_WORDS
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def set_ipython_mode(using_ipython: bool) -> None:
    """Say whether the environment runs in an IPython kernel."""
    os.environ[IPYTHON_MODE] = "1" if using_ipython else "0"


def clear_ipython_mode() -> None:
    """Leave it to IPython to say."""
    os.environ.pop(IPYTHON_MODE, None)


_PROFILE_TOOLS: dict[str, Callable[..., Any]] = {
    "is_re_worker_active": is_re_worker_active,
    "set_re_worker_active": set_re_worker_active,
    "clear_re_worker_active": clear_re_worker_active,
    "is_ipython_mode": is_ipython_mode,
    "set_ipython_mode": set_ipython_mode,
    "clear_ipython_mode": clear_ipython_mode,
}
_REGISTRATION = {"register_device": REGISTRY.register_device, "register_plan": REGISTRY.register_plan}
_DECORATOR = {"parameter_annotation_decorator": parameter_annotation_decorator}
_PUBLIC: dict[str, Any] = {**_PROFILE_TOOLS, **_REGISTRATION, **_DECORATOR}
_SUBMODULES: dict[str, dict[str, Any]] = {
    "annotation_decorator": dict(_DECORATOR),
    "profile_ops": {**_REGISTRATION, "clear_registered_items": REGISTRY.clear},
    "profile_tools": {
        **_PROFILE_TOOLS,
        "set_user_ns": set_user_ns,
        "global_user_namespace": USER_NAMESPACE,
        "load_devices_from_happi": load_devices_from_happi,
    },
}


def _module(name: str, names: dict[str, Any], *, path: list[str] | None = None) -> ModuleType:
    module = ModuleType(name, f"skybus's stand-in for {name}.")
    module.__dict__.update(names)
    if path is not None:
        module.__path__ = path
    sys.modules[name] = module
    return module


def _real_path(subfolder: str) -> list[str]:
    """Return where the real package lies: what the stand-in lacks is imported from there when asked for."""
    present = sys.modules.pop(PACKAGE, None)
    try:
        spec = importlib.util.find_spec(PACKAGE)
    finally:
        if present is not None:
            sys.modules[PACKAGE] = present
    folders = (spec and spec.submodule_search_locations) or []
    return [os.path.join(folder, subfolder) if subfolder else folder for folder in folders]  # noqa: PTH118


def _client_name(name: str) -> Any:
    """Resolve a name of the 0MQ client when startup code asks for it."""
    if name not in CLIENT_NAMES:
        raise AttributeError(f"skybus's stand-in for {PACKAGE} has no {name!r}")
    try:
        module = importlib.import_module(f"{PACKAGE}.manager.{CLIENT_NAMES[name]}")
    except ModuleNotFoundError as error:
        raise ImportError(f"{name!r} is part of bluesky-queueserver, which is not installed here") from error
    return getattr(module, name)
