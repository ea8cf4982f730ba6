"""What a process that `multiprocessing` spawns from an environment runs as its `__main__`, instead of startup code.

Startup code connects to hardware, so it runs once, in the environment. What it has defined is missing in such a child;
whoever calls it there gets an error that says so.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

STARTUP_MODULE = "_SKYBUS_STARTUP_MODULE"
"""Environment variable: the name of the module that the environment has as its startup code."""


def __getattr__(name: str) -> Any:
    """Find what startup code has defined; see `_stand_in`."""
    return _stand_in(name, sys._getframe(1).f_globals)


class AbsentModule(ModuleType):
    """Stands where the startup module would be, which must not be imported in a child."""

    def __getattr__(self, name: str) -> Any:
        """Find what it has defined; see `_stand_in`."""
        return _stand_in(name, sys._getframe(1).f_globals)


def _stand_in(name: str, caller: dict[str, Any]) -> Any:
    """Return what fails when it is called, while `multiprocessing` unpickles a name.

    With an error at that point, each worker of a pool would die of it, and the pool would wait for ever.

    Raises:
        AttributeError: somebody else asks.
    """
    if name.startswith("__") or not caller.get("__name__", "").startswith("multiprocessing."):
        raise AttributeError(_why_not(name))
    return type(name, (), {"__new__": lambda *_, **__: _fail(name)})


def _fail(name: str) -> None:
    raise RuntimeError(_why_not(name))


def _why_not(name: str) -> str:
    return (
        f"{name!r} is defined in startup code, which does not run again in a spawned process: move it into a module "
        "that is installed or on PYTHONPATH, or make the process with multiprocessing.get_context('fork')"
    )


if __name__ == "__mp_main__" and (startup_module := os.environ.get(STARTUP_MODULE)):
    sys.modules[startup_module] = AbsentModule(startup_module)
