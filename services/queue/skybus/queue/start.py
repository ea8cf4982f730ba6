"""The console script `skybus-queue`."""

from skybus.bus.quick_imports import quick_imports

with quick_imports("rich"):
    from skybus.queue.__main__ import main

__all__ = ["main"]
