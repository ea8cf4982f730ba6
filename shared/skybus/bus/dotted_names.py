"""Dotted names of plans, devices and components, as a path through the tree of their descriptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def is_in_tree(name: str, tree: Mapping[str, Any]) -> bool:
    """Tell whether a dotted name leads to a plan or device of the tree that is not excluded."""
    node: Mapping[str, Any] = {"components": tree}
    for part in name.split("."):
        node = node.get("components", {}).get(part)
        if node is None:
            return False
    return not node.get("excluded", False)


def walk(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each plan, device and component that is not excluded, by its dotted name."""
    for name, description in tree.items():
        if not description.get("excluded", False):
            yield prefix + name, description
        yield from walk(description.get("components", {}), f"{prefix}{name}.")
