"""`skybus`: the command line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from skybus.bus.quick_imports import quick_imports

if TYPE_CHECKING:
    import typer  # loaded in `main`, where Ctrl-C makes no traceback

_COMMANDS = {
    "status": "skybus.cli.status_command",
    "doctor": "skybus.cli.doctor_command",
    "watch": "skybus.cli.watch_command",
    "env": "skybus.cli.environment_commands",
    "queue": "skybus.cli.queue_commands",
    "re": "skybus.cli.engine_commands",
    "task": "skybus.cli.task_commands",
    "history": "skybus.cli.history_commands",
    "console": "skybus.cli.console_command",
    "backup": "skybus.cli.backup_commands",
    "restore": "skybus.cli.backup_commands",
    "plans": "skybus.cli.catalog_commands",
    "devices": "skybus.cli.catalog_commands",
}
"""Modules that register commands."""
_FUNCTIONS = {
    "up": "skybus.cli.up",
    "demo": "skybus.cli.demo",
    "re-manager": "skybus.cli.re_manager",
    "cluster-config": "skybus.cli.cluster_config",
    "zmq-keys": "skybus.cli.zmq_keys",
    "clear-lock": "skybus.cli.clear_lock",
    "list-plans-devices": "skybus.cli.list_plans_devices",
    "import-queueserver": "skybus.cli.import_queueserver",
}
"""Modules with one function, named as the command; they need what only `skybus[stack]` installs."""
_PLAIN = ("up", "re-manager")
"""Commands that print no tables."""


def make_app(wanted: str | None = None) -> typer.Typer:
    """Make the application: with one command, whose modules alone are loaded, or with all of them."""
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        help=_HELP,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    is_known = wanted in _COMMANDS or wanted in _FUNCTIONS
    for module in dict.fromkeys(_COMMANDS[name] for name in _COMMANDS if not is_known or name == wanted):
        import_module(module).register(app)
    for name in _FUNCTIONS:
        if not is_known or name == wanted:
            _add_function(app, name, is_wanted=is_known)
    return app


def main() -> None:
    """Run the command line; the console script."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    wanted = words[0] if words else None
    with _plain_interrupt(), quick_imports(*(("rich",) if wanted in _PLAIN else ())):
        command = _command(wanted)
    command()


def _command(wanted: str | None) -> Callable[[], None]:
    from typer.main import get_command

    return get_command(make_app(wanted))


@contextmanager
def _plain_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process without a traceback while modules are loaded: there is nothing to tidy up yet."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # not where SIGINT is ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


_HELP = "skybus runs Bluesky plans for a beamline. `skybus up` starts it, `skybus status` shows what it does."


def _root() -> None:
    pass


def _add_function(app: typer.Typer, name: str, *, is_wanted: bool) -> None:
    try:
        module = import_module(_FUNCTIONS[name])
    except ImportError:
        if is_wanted:
            import typer

            typer.secho(f"skybus {name} is not installed here: pip install 'skybus[stack]'", fg="red", err=True)
            raise SystemExit(1) from None
        return
    app.command(name, context_settings=getattr(module, "CONTEXT", None))(getattr(module, name.replace("-", "_")))


if __name__ == "__main__":
    main()
