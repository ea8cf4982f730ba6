"""`python -m skybus.worker.list_plans_devices`: write the list of plans and devices that startup code makes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from skybus.bus.messages import explain
from skybus.bus.visible_text import visible
from skybus.worker.environment.catalog import Catalog
from skybus.worker.environment.ending import run_exit_handlers
from skybus.worker.environment.engine import EngineWatcher
from skybus.worker.environment.existing_file import FILE_NAME, write_existing
from skybus.worker.environment.kernel import Kernel
from skybus.worker.environment.space import load_space
from skybus.worker.environment.startup import StartupError
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.settings import WorkerSettings

_SOURCES = ("startup_dir", "startup_module", "startup_script", "startup_profile", "ipython_dir")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the startup code as an environment does, and write the list; ends with 1 when something of that fails."""
    options = _parser().parse_args(arguments)
    if not any(getattr(options, name) for name in _SOURCES):
        sys.exit("list-plans-devices: say where startup code is, with --startup-dir, -script, -module or -profile")
    path = (options.file_dir or Path.cwd()).expanduser().absolute() / (options.file_name or FILE_NAME)
    try:
        catalog = _catalog(_settings(options))
        write_existing(path, catalog)
    except StartupError as error:
        sys.exit(f"{error.traceback}\nlist-plans-devices: {error.message}")
    except ValidationError as error:
        sys.exit(f"list-plans-devices: {explain(error)}")
    except OSError as error:
        sys.exit(f"list-plans-devices: cannot write {path}: {error.strerror}")
    for name, why in catalog.skipped.items():
        print(visible(f"not listed: {name}: {why}"))
    print(f"{len(catalog.plans)} plans and {len(catalog.devices)} devices are listed in {path}")


def _catalog(settings: WorkerSettings) -> Catalog:
    order = settings.order(EnvironmentFolder(Path()))
    kernel = Kernel(order.kernel, lambda: None, Unwatched()) if order.kernel else None
    return load_space(order, EngineWatcher(), kernel).offer.catalog


class Unwatched:
    """The kernel is made for its startup code alone: no cell ever runs."""

    def cells_changed(self, running: int) -> None:
        """See `Watcher`."""

    def kernel_taken(self) -> None:
        """See `Watcher`."""

    def kernel_refused(self) -> None:
        """See `Watcher`."""

    def kernel_given_back(self) -> None:
        """See `Watcher`."""


def _settings(options: argparse.Namespace) -> WorkerSettings:
    given = {name: getattr(options, name) for name in _SOURCES if getattr(options, name)}
    return WorkerSettings(
        **given,
        instrument="none",
        use_ipython_kernel=options.use_ipython_kernel == "ON",
        ignore_invalid_plans=options.ignore_invalid_plans == "ON",
        device_max_depth=options.device_max_depth,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skybus list-plans-devices", description=main.__doc__)
    parser.add_argument("--file-dir", type=Path, help="where the file is written; by default here")
    parser.add_argument("--file-name", help=f"by default {FILE_NAME}")
    parser.add_argument("--startup-profile", help="an IPython profile, whose startup directory is taken")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--startup-dir", type=Path, help="a directory of *.py and *.ipy files")
    source.add_argument("--startup-module", help="a module")
    source.add_argument("--startup-script", type=Path, help="a file")
    parser.add_argument("--ipython-dir", type=Path, help="where profiles are; by default IPYTHONDIR or ~/.ipython")
    parser.add_argument("--use-ipython-kernel", choices=("ON", "OFF"), default="OFF", help="in an IPython kernel")
    parser.add_argument("--ignore-invalid-plans", choices=("ON", "OFF"), default="OFF", help="leave such plans out")
    parser.add_argument("--device-max-depth", type=int, default=0, help="levels of subdevices; 0 for all")
    return parser


def _run() -> NoReturn:
    """End when the list is written: threads that startup code has left may go on for ever."""
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        code = 1
        traceback.print_exc()
    with suppress(OSError, ValueError, AttributeError):  # startup code may have closed or replaced it
        sys.stdout.flush()
    run_exit_handlers(code)
    os._exit(code)


if __name__ == "__main__":
    _run()
