"""The catalogue says about plans and devices what clients of bluesky-queueserver expect to read."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Optional

import pytest
from bluesky.plans import count
from bluesky.protocols import Flyable, Movable, Readable
from ophyd import Component, Device, Signal
from ophyd.sim import SynAxis

from skybus.worker.environment.annotation import parameter_annotation_decorator
from skybus.worker.environment.catalog import CatalogError, describe_catalog
from skybus.worker.environment.docstrings import read_docstring
from skybus.worker.environment.registry import Registry
from skybus.worker.environment.type_names import type_name


class Stage(Device):
    x = Component(SynAxis)
    note = Component(Signal)


class Hutch(Device):
    table = Component(Stage)


def _catalog(registry=None, **namespace):
    return describe_catalog(namespace, registry=registry or Registry())


def _parameter(plan, name):
    described = _catalog(**{plan.__name__: plan}).plans[plan.__name__]["parameters"]
    return next(parameter for parameter in described if parameter["name"] == name)


def test_a_plan_of_bluesky_is_described():
    description = _catalog(count=count).plans["count"]

    assert (description["name"], description["module"]) == ("count", "bluesky.plans")
    assert description["properties"] == {"is_generator": True}
    assert description["description"] == "Take one or more readings from detectors."
    assert description["parameters"][:2] == [
        {
            "name": "detectors",
            "kind": {"name": "POSITIONAL_OR_KEYWORD", "value": 1},
            "description": "list of 'readable' objects",
            "annotation": {"type": "collections.abc.Sequence[__READABLE__]"},
            "convert_device_names": True,
        },
        {
            "name": "num",
            "kind": {"name": "POSITIONAL_OR_KEYWORD", "value": 1},
            "description": "number of readings to take; default is 1\n\nIf None, capture data until canceled",
            "annotation": {"type": "int | None"},
            "default": "1",
        },
    ]


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (list[str], "list[str]"),
        (Optional[list[float]], "typing.Optional[list[float]]"),  # noqa: UP045
        (float | None, "float | None"),
        (dict[str, Any], "dict[str, typing.Any]"),
        (Sequence[Readable], "collections.abc.Sequence[__READABLE__]"),
        (Movable | Any, "__MOVABLE__ | typing.Any"),
        (list[Flyable], "list[__FLYABLE__]"),
        (Literal["a", 2], "typing.Literal['a', 2]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Iterable, "collections.abc.Iterable[typing.Any]"),
        (Callable[[int], float], "__CALLABLE__"),
        (Device, None),
        (list[Device], None),
    ],
)
def test_type_hints_are_written_as_clients_know_them(hint, text):
    assert type_name(hint) == text


def test_hints_that_are_strings_are_resolved_where_the_plan_lives():
    def plan(detectors: "list[Readable]", other: "NotThere"):  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
        yield

    assert _parameter(plan, "detectors")["annotation"] == {"type": "list[__READABLE__]"}
    assert "annotation" not in _parameter(plan, "other")


GOOGLE = """Do it.

    Args:
        a: First.
            Goes on.
        *b (int): Second.

    Returns:
        c: no parameter
    """

NUMPY = """
    Do it.

    Parameters
    ----------
    a, b : int
        Both.

    Returns
    -------
    c
        No parameter.
    """


def test_google_and_numpy_docstrings_describe_parameters():
    assert read_docstring(GOOGLE).parameters == {"a": "First.\nGoes on.", "b": "Second."}
    assert read_docstring(NUMPY).parameters == {"a": "Both.", "b": "Both."}
    assert read_docstring(GOOGLE).summary == read_docstring(NUMPY).summary == "Do it."


def test_the_decorator_gives_types_lists_defaults_and_limits():
    notes = {
        "annotation": "list[Motors]",
        "devices": {"Motors": ["hutch", "__MOTOR__:^hutch$:^table$:^x$"]},
        "default": ["hutch.table.x"],
        "min": -1,
        "max": 2.5,
    }

    @parameter_annotation_decorator({"parameters": {"motors": notes}})
    def plan(motors=None):
        yield

    described = _catalog(plan=plan, hutch=Hutch(name="hutch")).plans["plan"]["parameters"][0]

    assert described["annotation"] == {"type": "list[Motors]", "devices": {"Motors": ["hutch", "hutch.table.x"]}}
    assert described["default"] == "['hutch.table.x']"
    assert described["default_defined_in_decorator"] is True
    assert (described["min"], described["max"]) == ("-1", "2.5")


def test_devices_are_described_with_their_components():
    devices = _catalog(hutch=Hutch(name="hutch"), number=3, text="x").devices

    assert list(devices) == ["hutch"]
    x = devices["hutch"]["components"]["table"]["components"]["x"]
    assert (x["is_readable"], x["is_movable"], x["is_flyable"]) == (True, True, False)
    assert (x["classname"], x["module"]) == ("SynAxis", "ophyd.sim")


def test_what_has_children_of_another_kind_has_no_components():
    class Process:
        def children(self):
            return [Process()]

    class Node:
        children = ()

    assert all("components" not in device for device in _catalog(process=Process(), node=Node()).devices.values())


def test_registration_limits_depth_and_hides():
    registry = Registry()
    registry.register_device("hutch", depth=2)
    registry.register_device("hidden", exclude=True)
    registry.register_plan("count", exclude=True)
    catalog = _catalog(registry, hutch=Hutch(name="hutch"), hidden=Hutch(name="hidden"), count=count)

    assert list(catalog.devices) == ["hutch"]
    assert "components" not in catalog.devices["hutch"]["components"]["table"]
    assert catalog.plans == {}


def test_a_plan_with_an_object_as_default_is_refused_or_left_out_where_that_is_asked_for():
    def plan(detector=Signal(name="sig")):  # noqa: B008
        yield

    with pytest.raises(CatalogError, match=r"plan 'plan'.*'detector'.*parameter_annotation_decorator"):
        describe_catalog({"plan": plan}, ignore_invalid_plans=False, registry=Registry())

    catalog = describe_catalog({"plan": plan}, ignore_invalid_plans=True, registry=Registry())
    assert catalog.plans == {}
    assert "detector" in catalog.skipped["plan"]
