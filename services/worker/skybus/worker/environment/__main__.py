"""`skybus-environment`: waits as a spare until the supervisor's order comes, then becomes an environment."""

from __future__ import annotations

import faulthandler
import os
import sys
from contextlib import suppress
from importlib import import_module

from skybus.bus.logs import lines, start_logging
from skybus.worker.environment.keyboard import remove_keyboard
from skybus.worker.environment.output import unbuffer_python
from skybus.worker.environment.signals import start_afresh
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.memory import end_without_memory
from skybus.worker.order import Order
from skybus.worker.spare import WITH_KERNEL

FOR_KERNEL = ("skybus.worker.environment.kernel_app", "matplotlib.pyplot")
"""What an IPython kernel imports besides."""


def main() -> int:
    """Get ready, read the order and carry it out."""
    start_afresh()
    unbuffer_python()
    _warm_up(kernel=WITH_KERNEL in sys.argv)
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):  # the supervisor has no use for us
        return 0
    order = Order.model_validate_json(line)
    _read_nothing()
    remove_keyboard()
    _log_into(EnvironmentFolder(order.folder), order.log_level)
    _leave_structlog_to_user_code()
    faulthandler.enable()
    from skybus.worker.environment.host import Host

    try:
        return Host(order).run()
    except MemoryError:
        end_without_memory()


def _warm_up(*, kernel: bool) -> None:
    """Import what takes long and what nearly every startup code uses."""
    import skybus.worker.environment.host  # noqa: F401

    for module in FOR_KERNEL if kernel else ():
        with suppress(Exception):  # if it is needed, opening says what is wrong
            import_module(module)


def _read_nothing() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _log_into(folder: EnvironmentFolder, level: str) -> None:
    """Keep our own log away from user output, and from a terminal that may go away; a full disk harms nobody."""
    lines.output = folder.log.open("a", buffering=1)
    start_logging("environment", level)


def _leave_structlog_to_user_code() -> None:
    """Give user code a structlog of its own. It neither changes our log nor writes into it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "structlog"]:
        del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main())
