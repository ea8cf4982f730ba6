"""The console script `skybus-bridge`."""

from skybus.bus.quick_imports import quick_imports

with quick_imports("rich"):
    from skybus.bridge.__main__ import main

__all__ = ["main"]
