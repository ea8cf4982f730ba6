"""Every test in this folder is a fault test: processes die or stand still, and leaders are elected."""

from __future__ import annotations

from multiprocessing import forkserver, resource_tracker

import pytest

from tests.promises import PATIENCE


@pytest.fixture(scope="session")
def fork_server() -> None:
    """Start what forks processes: it is there until the tests end."""
    forkserver.ensure_running()
    resource_tracker.ensure_running()


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.faults)
    if not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(5 * PATIENCE))
