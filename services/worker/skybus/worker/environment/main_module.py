"""`sys.modules["__main__"]` of an environment: the module whose names are the namespace of the startup code.

As in IPython, libraries put devices there, `pickle` finds functions there, and hints that are text are looked up there.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from skybus.worker.environment import child_main


class MainModule(ModuleType):
    """Sends spawned children to `child_main`, whatever startup code writes into the namespace.

    `multiprocessing` has each spawned child run `__main__` again: by the name in `__spec__`, else by `__file__`. That
    would be startup code, which moves hardware.
    """

    @property
    def __spec__(self) -> ModuleSpec:  # pyright: ignore[reportIncompatibleVariableOverride]
        return ModuleSpec(child_main.__name__, None)


def become_main() -> dict[str, Any]:
    """Make a new `__main__` of this process, and return its namespace."""
    module = MainModule("__main__", "The namespace of the startup code.")
    sys.modules["__main__"] = module
    return vars(module)
