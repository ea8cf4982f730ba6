"""What a process that `multiprocessing` spawns from an environment runs as its `__main__`, instead of startup code.

Startup code connects to hardware, so it runs once, in the environment. What it has defined is missing in such a child;
whoever calls it there gets an error that says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

STARTUP_MODULE = "_SKYBUS_STARTUP_MODULE"
"""Environment variable: the name of the module that the environment has as its startup code."""

_importers: set[str] = set()
"""Names of the modules that have asked for what startup code has defined."""
_WAY_OUT = (
    "which does not run again in a spawned process: move it into a module that is installed or on PYTHONPATH, "
    "or make the process with multiprocessing.get_context('fork')"
)


def __getattr__(name: str) -> Any:
    """Find what startup code has defined; see `_stand_in`."""
    return _stand_in(name, f"{name!r} is defined in startup code, {_WAY_OUT}")


class AbsentModule(ModuleType):
    """Stands where the startup module would be, which must not be imported in a child, or a module that needs it."""

    def __getattr__(self, name: str) -> Any:
        """Find what it has defined; see `_stand_in`."""
        if self.__name__ == os.environ.get(STARTUP_MODULE):
            return _stand_in(name, f"{name!r} is defined in startup code, {_WAY_OUT}")
        return _stand_in(name, f"{name!r} is defined in {self.__name__}, which uses startup code, {_WAY_OUT}")


class _StandIn(type):
    """Makes classes that nobody can use: startup code has the real thing."""

    why: str

    def __getattr__(cls, name: str) -> Any:
        raise AttributeError(cls.why if not name.startswith("__") else name)

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise RuntimeError(cls.why)


def _stand_in(name: str, why: str) -> Any:
    """Return what fails when it is used.

    With an error at this point, while `multiprocessing` unpickles a name, each worker of a pool would die of it, and
    the pool would wait for ever.

    Raises:
        AttributeError: Python itself looks for a name.
    """
    _importers.add(sys._getframe(2).f_globals.get("__name__", ""))
    if name.startswith("__"):
        raise AttributeError(why)
    return _StandIn(name, (), {"why": why})


class _Finder:
    """Imports a module that fails because startup code is missing; what the module defines fails when it is used."""

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module as the other finders do, and surround the code of a Python file."""
        others = (finder for finder in sys.meta_path if finder is not cls and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec and spec.loader and spec.origin and spec.origin.endswith(".py"):
            spec.loader.exec_module = _tolerant(spec.loader.exec_module)
        return spec


def _tolerant(exec_module: Any) -> Any:
    def run(module: ModuleType) -> None:
        try:
            exec_module(module)
        except Exception:
            if module.__name__ not in _importers:
                raise
            module.__class__ = AbsentModule

    return run


if __name__ == "__mp_main__":
    sys.meta_path.insert(0, _Finder)
    if startup_module := os.environ.get(STARTUP_MODULE):
        sys.modules[startup_module] = AbsentModule(startup_module)
