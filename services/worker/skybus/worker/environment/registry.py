"""What startup code registers by name: plans and devices to show, to hide, or to show with another depth."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RegisteredDevice:
    """How one top-level device appears in the catalogue."""

    depth: int = 1
    """Levels of the device tree that are described; 0 is all of them."""
    exclude: bool = False


@dataclass(frozen=True)
class RegisteredPlan:
    """How one plan appears in the catalogue."""

    exclude: bool = False


@dataclass
class Registry:
    """Names that the startup code registered; they need not exist yet."""

    devices: dict[str, RegisteredDevice] = field(default_factory=dict)
    plans: dict[str, RegisteredPlan] = field(default_factory=dict)

    def register_device(self, name: str, *, depth: int = 1, exclude: bool = False) -> None:
        """Set how deep a top-level device is described, or hide it from clients.

        Raises:
            TypeError: The name is no string or the depth no integer.
            ValueError: The name is no Python name or the depth is negative.
        """
        _check_name("Device", name)
        if not isinstance(depth, int):
            raise TypeError(f"Depth of device {name!r} must be an integer, not {depth!r}")
        if depth < 0:
            raise ValueError(f"Depth of device {name!r} must be 0 (no limit) or more, not {depth}")
        self.devices[name] = RegisteredDevice(depth=depth, exclude=bool(exclude))

    def register_plan(self, name: str, *, exclude: bool = False) -> None:
        """Show a plan to clients, or hide it from them.

        Raises:
            TypeError: The name is no string.
            ValueError: The name is no Python name.
        """
        _check_name("Plan", name)
        self.plans[name] = RegisteredPlan(exclude=bool(exclude))

    def clear(self) -> None:
        """Forget every registration."""
        self.devices.clear()
        self.plans.clear()


REGISTRY = Registry()
"""The registrations of this process; a process loads one startup code."""


def _check_name(kind: str, name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{kind} name must be a string, not {name!r}")
    if not (name.isascii() and name.isidentifier()):
        raise ValueError(f"{kind} name {name!r} must be a Python name: letters, digits and underscores")
