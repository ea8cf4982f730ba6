"""The user's namespace with what is known about it: its catalogue, and the RunEngine that runs the plans."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from bluesky import RunEngine

from skybus.worker.environment import reference_names
from skybus.worker.environment.catalog import Catalog, CatalogError, describe_catalog
from skybus.worker.environment.engine import Engine, EngineWatcher
from skybus.worker.environment.existing_file import save_existing
from skybus.worker.environment.kernel import Kernel
from skybus.worker.environment.main_module import become_main
from skybus.worker.environment.output import say
from skybus.worker.environment.packed_catalog import PackedCatalog
from skybus.worker.environment.remarks import Remarks
from skybus.worker.environment.script import run_script
from skybus.worker.environment.startup import StartupError, StartupSource, load_startup
from skybus.worker.environment.startup_files import find_startup_files, unreadable
from skybus.worker.order import Order


class Space:
    """A namespace that startup code has filled.

    Args:
        watcher: told what the RunEngine does.
        remarks: what people are told of the startup code already.

    Raises:
        StartupError: a plan in it cannot be described, and the order says to refuse that.
    """

    def __init__(
        self, order: Order, namespace: dict[str, Any], watcher: EngineWatcher, remarks: Sequence[str] = ()
    ) -> None:
        self.namespace = namespace
        self.warnings = list(remarks)
        """What people were told of things that are not listed, or not as they are."""
        self.engine: Engine | None = None
        """The RunEngine that had the name `RE` when it was last looked for."""
        self.shown_metadata = order.permitted_re_metadata_keys
        self._order = order
        self._watcher = watcher
        self._describing = threading.Lock()
        self.offer = PackedCatalog(self._describe())
        """What is offered to clients; replaced as a whole."""
        self.take_engine()
        self._save("ENVIRONMENT_OPEN", "ALWAYS")

    def take_engine(self) -> None:
        """Let the object that has the name `RE` now run the plans to come; without one the present engine stays."""
        run_engine = self.namespace.get("RE", self.engine and self.engine.run_engine)
        if self.engine is None or self.engine.run_engine is not run_engine:
            self.engine = self._engine(run_engine) if isinstance(run_engine, RunEngine) else None

    def _engine(self, run_engine: RunEngine) -> Engine:
        return Engine(run_engine, self._watcher, by_hand=self._order.kernel is not None)

    def run_script(self, script: str, *, update_re: bool) -> None:
        """Run an uploaded script.

        Raises:
            StartupError: it has failed.
        """
        order = self._order
        root = _source(order).root or order.script_root or order.startup_dir
        run_script(script, self.namespace, root=root, update_re=update_re)

    def describe_anew(self) -> None:
        """Offer the plans and devices that the namespace has now; called in the thread of a task.

        Raises:
            StartupError: one cannot be described; the offer stays.
        """
        with self._describing:
            catalog = self._describe()
            if catalog.has_same_content(self.offer.catalog):
                return
            self.offer = PackedCatalog(catalog)
            self._save("ALWAYS")

    def _save(self, *policies: str) -> None:
        path = self._order.existing_plans_and_devices
        if path and self._order.update_existing_plans_devices in policies:
            save_existing(path, self.offer.catalog)

    def _describe(self) -> Catalog:
        order = self._order
        try:
            catalog = describe_catalog(
                self.namespace, max_depth=order.device_max_depth, ignore_invalid_plans=order.ignore_invalid_plans
            )
        except CatalogError as error:
            raise StartupError(str(error)) from error
        self._warn(catalog.warnings)
        return catalog

    def _warn(self, warnings: Sequence[str]) -> None:
        """Print what people were not told before, for those who watch the console."""
        for text in warnings:
            if text not in self.warnings:
                self.warnings.append(text)
                say(f"Warning: {text}")


def load_space(order: Order, watcher: EngineWatcher, kernel: Kernel | None = None) -> Space:
    """Run the startup code, in a kernel if there is one, and describe what it has made.

    Raises:
        StartupError: something of that has failed.
    """
    reference_names.install(ipython_mode=kernel is not None)
    ignored = _look_at_folder(order)
    namespace = become_main()
    if kernel is None:
        load_startup(_source(order), namespace)
    else:
        kernel.load(order, namespace)
    return Space(order, namespace, watcher, ignored)


def _look_at_folder(order: Order) -> list[str]:
    """Return, and print, what in the startup folder looks like startup code and is not run.

    Raises:
        StartupError: a file that is to be run cannot be read.
    """
    folder = order.startup_dir
    if folder is None or not folder.is_dir():
        return []  # who runs it says that it is missing
    found = find_startup_files(folder)
    if failed := unreadable(found.files):
        path, error = failed
        raise StartupError(f"Startup file '{path}' cannot be read: {error.strerror}")
    remarks = Remarks()
    for text in found.ignored:
        remarks.add(text)
        say(f"Warning: {text}")
    return remarks.told()


def _source(order: Order) -> StartupSource:
    is_all = not (order.startup_script or order.startup_module)
    return StartupSource(
        directory=order.startup_dir if is_all else None,
        script=order.startup_script,
        module=order.startup_module,
        keep_re=order.keep_re,
    )
