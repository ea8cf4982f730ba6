"""Startup code that is a module: how its names come into the namespace."""

from __future__ import annotations

import importlib
import importlib.util
import os
from importlib.machinery import ModuleSpec
from typing import Any

from skybus.worker.environment.child_main import STARTUP_MODULE

IDENTITY = (
    "__name__", "__doc__", "__package__", "__loader__", "__spec__",
    "__file__", "__cached__", "__path__", "__builtins__",
)  # fmt: skip
"""What a module says of itself: `__main__` stays what it is when it gets the names of another module."""


def import_into(namespace: dict[str, Any], name: str) -> None:
    """Import a module under its own name, as the reference does, and copy its names."""
    _keep_from_children(name)
    found = vars(importlib.import_module(name))
    namespace.update({name: value for name, value in found.items() if name not in IDENTITY})


def run_module(name: str, namespace: dict[str, Any]) -> None:
    """Run a module as `__main__`, as `ipython -m` does, in the namespace itself.

    Raises:
        ImportError: there is no such module, or it is none that can be run.
    """
    _keep_from_children(name)
    spec = _find(name)
    get_code = getattr(spec.loader, "get_code", None)
    code = get_code and get_code(spec.name)
    if not code:
        raise ImportError(f"No code object available for {name}")
    namespace.update(__name__="__main__", __file__=spec.origin, __package__=spec.parent)
    exec(code, namespace)  # noqa: S102


def _find(name: str) -> ModuleSpec:
    """Find a module; of a package, that is its `__main__`."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"No module named {name}")
    return spec if spec.submodule_search_locations is None else _find(f"{name}.__main__")


def _keep_from_children(name: str) -> None:
    """Let no spawned child import it: it is startup code; see `child_main`."""
    os.environ[STARTUP_MODULE] = name
