"""Every test in this folder is a fault test: processes die or stand still, and leaders are elected."""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.faults)
