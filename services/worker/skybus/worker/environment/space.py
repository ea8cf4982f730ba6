"""The user's namespace with what is known about it: its catalogue, and the RunEngine that runs the plans."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from bluesky import RunEngine

from skybus.worker.environment import reference_names
from skybus.worker.environment.catalog import Catalog, CatalogError, describe_catalog
from skybus.worker.environment.engine import Engine
from skybus.worker.environment.existing_file import save_existing
from skybus.worker.environment.kernel import Kernel
from skybus.worker.environment.main_module import become_main
from skybus.worker.environment.packed_catalog import PackedCatalog
from skybus.worker.environment.script import run_script
from skybus.worker.environment.startup import StartupError, StartupSource, load_startup
from skybus.worker.order import Order

log = structlog.get_logger()


class Space:
    """A namespace that startup code has filled.

    Args:
        on_engine_state: told of each state of the RunEngine, in its own thread.

    Raises:
        StartupError: a plan in it cannot be described.
    """

    def __init__(self, order: Order, namespace: dict[str, Any], on_engine_state: Callable[[str], None]) -> None:
        self.namespace = namespace
        self.engine: Engine | None = None
        """The RunEngine that had the name `RE` when it was last looked for."""
        self.shown_metadata = order.permitted_re_metadata_keys
        self._order = order
        self._on_engine_state = on_engine_state
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
        return Engine(run_engine, self._on_engine_state, by_hand=self._order.kernel is not None)

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
        for name, reason in catalog.invalid_plans.items():
            log.warning("a plan is left out of the catalogue", plan=name, reason=reason)
        return catalog


def load_space(order: Order, on_engine_state: Callable[[str], None], kernel: Kernel | None = None) -> Space:
    """Run the startup code, in a kernel if there is one, and describe what it has made.

    Raises:
        StartupError: something of that has failed.
    """
    reference_names.install(ipython_mode=kernel is not None)
    namespace = become_main()
    if kernel is None:
        load_startup(_source(order), namespace)
    else:
        kernel.load(order, namespace)
    return Space(order, namespace, on_engine_state)


def _source(order: Order) -> StartupSource:
    is_all = not (order.startup_script or order.startup_module)
    return StartupSource(
        directory=order.startup_dir if is_all else None,
        script=order.startup_script,
        module=order.startup_module,
        keep_re=order.keep_re,
    )
