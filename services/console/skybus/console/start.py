"""The console script `skybus-console`."""

from skybus.bus.quick_imports import quick_imports

with quick_imports("rich"):
    from skybus.console.__main__ import main

__all__ = ["main"]
