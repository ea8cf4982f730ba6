"""The console script `skybus-worker`."""

from skybus.bus.quick_imports import quick_imports

with quick_imports("rich"):
    from skybus.worker.__main__ import main

__all__ = ["main"]
