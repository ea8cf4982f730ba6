"""The user's namespace with what is known about it: its catalogue, and the RunEngine that it holds at the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from skybus.worker.environment import reference_names
from skybus.worker.environment.catalog import Catalog, CatalogError, describe_catalog
from skybus.worker.environment.engine import Engine
from skybus.worker.environment.startup import StartupError, StartupSource, load_startup
from skybus.worker.order import Order

log = structlog.get_logger()


class Space:
    """A namespace that startup code has filled.

    Args:
        on_engine_state: told of each state of the RunEngine, in its own thread.
    """

    def __init__(self, namespace: dict[str, Any], catalog: Catalog, on_engine_state: Callable[[str], None]) -> None:
        self.namespace = namespace
        self.catalog = catalog
        self._on_engine_state = on_engine_state
        self._engine: Engine | None = None

    def engine(self) -> Engine | None:
        """The RunEngine under the name `RE`; a script may have put another one there."""
        run_engine = self.namespace.get("RE")
        if run_engine is None or not callable(run_engine):
            return None
        if self._engine is None or self._engine.run_engine is not run_engine:
            self._engine = Engine(run_engine, self._on_engine_state)
        return self._engine


def load_space(order: Order, on_engine_state: Callable[[str], None]) -> Space:
    """Run the startup code and describe what it has made.

    Raises:
        StartupError: something of that has failed.
    """
    reference_names.install()
    source = StartupSource(
        directory=order.startup_dir,
        script=order.startup_script,
        module=order.startup_module,
        keep_re=order.keep_re,
    )
    namespace = load_startup(source)
    try:
        catalog = describe_catalog(
            namespace, max_depth=order.device_max_depth, ignore_invalid_plans=order.ignore_invalid_plans
        )
    except CatalogError as error:
        raise StartupError(str(error)) from error
    for name, reason in catalog.invalid_plans.items():
        log.warning("a plan is left out of the catalogue", plan=name, reason=reason)
    space = Space(namespace, catalog, on_engine_state)
    space.engine()
    return space
