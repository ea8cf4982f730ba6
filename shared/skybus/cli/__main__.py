"""`skybus`: the command line."""

from __future__ import annotations

import typer

from skybus.cli.demo import demo
from skybus.cli.re_manager import re_manager
from skybus.cli.up import up

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
app.command()(up)
app.command()(demo)
app.command("re-manager")(re_manager)


def main() -> None:
    """Run the command line; the console script."""
    app()


if __name__ == "__main__":
    main()
