"""The console script `skybus-auth`."""

from skybus.bus.quick_imports import quick_imports

with quick_imports("rich"):
    from skybus.auth.__main__ import main

__all__ = ["main"]
