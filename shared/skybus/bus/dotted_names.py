"""Dotted names of plans, devices and components, as a path through the tree of their descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_in_tree(name: str, tree: Mapping[str, Any]) -> bool:
    """Tell whether a dotted name leads to a plan or device of the tree that is not excluded."""
    node: Mapping[str, Any] = {"components": tree}
    for part in name.split("."):
        node = node.get("components", {}).get(part)
        if node is None:
            return False
    return not node.get("excluded", False)
