"""One thing in the startup code that cannot be described costs that thing its description, and nothing else."""

from __future__ import annotations

import ast
import contextlib
import enum
import functools
import math
import os
import xmlrpc.client
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Optional
from unittest.mock import MagicMock

import numpy as np
import orjson
import psutil
import pytest
from bluesky.plans import count, scan
from bluesky.utils import MsgGenerator
from bluesky.utils import plan as bluesky_plan
from ophyd import Device
from ophyd.sim import SynAxis

from skybus.auth.check import check_item
from skybus.auth.plan_schemas import PlanSchemaWriter, names_by_kind
from skybus.worker.environment.annotation import ATTRIBUTE, parameter_annotation_decorator
from skybus.worker.environment.catalog import Catalog, CatalogError, describe_catalog
from skybus.worker.environment.packed_catalog import PackedCatalog
from skybus.worker.environment.plan_call import build_plan
from skybus.worker.environment.registry import Registry


class Filter(enum.Enum):
    OUT = "out"


class Speed(enum.StrEnum):
    FAST = "fast"


class BadRepr:
    def __repr__(self) -> str:
        return repr(self)


class ExitingRepr:
    def __repr__(self) -> str:
        raise SystemExit("no repr")


class RaisesAlways:
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


class RaisesAsClass:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class ExitsWhenRead:
    def __getattr__(self, name: str) -> Any:
        raise SystemExit(name)


class Bare:
    """Readable without a library."""

    name = "bare"

    def read(self) -> None: ...

    def describe(self) -> None: ...


class Source(Bare):
    """As the sources and catalogues of intake and databroker are."""

    __module__ = "intake.source.base"


class HasExitingName(Bare):
    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise SystemExit("not connected")


class CannotBeCalledNormally:
    """An object whose signature cannot be read."""

    _is_plan_ = True
    __signature__ = 5

    def __call__(self) -> Iterator[Any]:
        yield


def good(detectors, num: int = 1):
    """Do it."""
    yield


motor = SynAxis(name="motor")
LATIN = os.fsdecode(b"M\xfcller")


def described(**namespace: Any) -> Catalog:
    """The catalogue of a namespace that has a good plan and a device besides; it can always be sent."""
    catalog = describe_catalog({**namespace, "good": good, "motor": motor}, registry=Registry())
    assert catalog.plans["good"]["description"] == "Do it."
    assert catalog.devices["motor"]["is_movable"]
    sent = PackedCatalog(catalog)
    assert sent.part(0).data
    orjson.loads(orjson.dumps([catalog.plans, catalog.devices, catalog.skipped, catalog.warnings]))
    return catalog


def warned(catalog: Catalog, *words: str) -> None:
    assert any(all(word in text for word in words) for text in catalog.warnings), catalog.warnings


def parameter_of(catalog: Catalog, name: str = "plan") -> dict[str, Any]:
    return catalog.plans[name]["parameters"][0]


def plan_with_default(value: Any) -> Callable[..., Any]:
    def plan(x=value):
        yield x

    return plan


RECURSIVE: list[Any] = [1]
RECURSIVE.append(RECURSIVE)


UNWRITABLE: dict[str, Any] = {
    "nan": math.nan,
    "inf": math.inf,
    "enum": Filter.OUT,
    "lambda": lambda: 5,
    "object": object(),
    "class": Device,
    "bad repr": BadRepr(),
    "exiting repr": ExitingRepr(),
    "raises always": RaisesAlways(),
    "raises as class": RaisesAsClass(),
    "recursive list": RECURSIVE,
    "lone surrogate": LATIN,
    "lone surrogate in a list": [LATIN],
    "large array": np.zeros(1_000_000),
    "long list": list(range(1_000_000)),
    "long text": "x" * 1_000_000,
    "path": Path(LATIN),
    "enum in a dictionary": {Filter.OUT: 1},
}


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_a_default_that_cannot_be_written_is_a_text_and_the_parameter_stays_optional(kind):
    value = UNWRITABLE[kind]
    plan = plan_with_default(value)
    catalog = described(plan=plan)
    parameter = parameter_of(catalog)
    assert parameter["default_is_text"]
    assert isinstance(ast.literal_eval(parameter["default"]), str)
    assert len(parameter["default"]) < 1000
    warned(catalog, "plan 'plan'", "parameter 'x'")
    item = {"item_type": "plan", "name": "plan"}
    check_item(item, "root", catalog.plans, catalog.devices)
    assert next(build_plan(item, {"plan": plan}, catalog)()) is value
    sent_back = item | {"args": [ast.literal_eval(parameter["default"])]}
    assert next(build_plan(sent_back, {"plan": plan}, catalog)()) is value
    schema = PlanSchemaWriter(catalog.plans, names_by_kind(catalog.plans, catalog.devices)).schema("plan")
    assert "required" not in schema
    assert "default" not in schema["properties"]["x"]


def test_a_warning_names_plan_parameter_and_way_out():
    catalog = described(plan=plan_with_default(math.nan))
    assert catalog.warnings == [
        "plan 'plan', parameter 'x': default nan is not a plain Python value; it stays, and a text stands for it; "
        "give a default in parameter_annotation_decorator"
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(1.5), "1.5"),
        (np.int32(3), "3"),
        (np.array([1, 2]), "[1, 2]"),
        ((np.float64(1.5), "a"), "(1.5, 'a')"),
        (Speed.FAST, "'fast'"),
        (Path("/tmp/x"), "'/tmp/x'"),
        (motor, "'motor'"),
        ([motor], "['motor']"),
    ],
)
def test_a_default_that_a_plain_value_can_replace_is_listed_as_that(value, text):
    catalog = described(plan=plan_with_default(value))
    assert parameter_of(catalog)["default"] == text
    assert "default_is_text" not in parameter_of(catalog)
    assert catalog.warnings == []


@pytest.mark.parametrize("value", [math.nan, motor, Filter.OUT])
def test_such_a_plan_is_refused_or_left_out_where_the_option_says_so(value):
    namespace = {"plan": plan_with_default(value), "motor": motor, "good": good}
    with pytest.raises(CatalogError, match="Failed to create description of plan 'plan'.*parameter_annotation_deco"):
        describe_catalog(namespace, ignore_invalid_plans=False, registry=Registry())
    catalog = describe_catalog(namespace, ignore_invalid_plans=True, registry=Registry())
    assert list(catalog.plans) == ["good"]
    assert "parameter_annotation_decorator" in catalog.skipped["plan"]
    warned(catalog, "plan 'plan' is not listed")


RecursiveHint = list["RecursiveHint"]


HINTS: dict[str, Any] = {
    "literal of an enum": Literal[Filter.OUT],
    "deep inside": Optional[list[Literal[Filter.OUT]]],  # noqa: UP045
    "lone surrogate": Literal[LATIN],  # pyright: ignore[reportInvalidTypeForm]
    "bad repr": BadRepr(),
    "exiting repr": ExitingRepr(),
    "raises always": RaisesAlways(),
    "raises as class": RaisesAsClass(),
}


@pytest.mark.parametrize("kind", HINTS)
@pytest.mark.parametrize("ignore_invalid_plans", [None, False])
def test_a_hint_that_cannot_be_written_is_left_out(kind, ignore_invalid_plans):
    def plan(x):
        yield

    plan.__annotations__["x"] = HINTS[kind]
    catalog = describe_catalog({"plan": plan}, ignore_invalid_plans=ignore_invalid_plans, registry=Registry())
    assert "annotation" not in parameter_of(catalog)
    warned(catalog, "plan 'plan', parameter 'x'", "an 'annotation' in parameter_annotation_decorator")


@pytest.mark.parametrize("hint", [RecursiveHint, Annotated[float, math.nan], Annotated[str, LATIN]])
def test_a_hint_with_a_part_that_clients_do_not_know_does_no_harm(hint):
    def plan(x):
        yield

    plan.__annotations__["x"] = hint
    catalog = described(plan=plan)
    item = {"item_type": "plan", "name": "plan", "args": [1.0]}
    assert catalog.plans["plan"]["parameters"][0].get("annotation", {}).get("type") in (None, "float", "str")
    if hint == Annotated[float, math.nan]:
        check_item(item, "root", catalog.plans, catalog.devices)


@pytest.mark.parametrize("docstring", [5, object(), BadRepr(), f"Writes to {LATIN}.", "x" * 1_000_000])
def test_a_docstring_that_cannot_be_sent_costs_no_plan(docstring):
    def plan(x):
        yield

    plan.__doc__ = docstring
    catalog = described(plan=plan)
    assert len(str(catalog.plans["plan"])) < 20_000
    if docstring != "x" * 1_000_000:
        warned(catalog, "plan 'plan'")
    if isinstance(docstring, str) and LATIN in docstring:
        assert catalog.plans["plan"]["description"] == "Writes to M?ller."


@pytest.mark.parametrize(
    "notes",
    [
        {"parameters": {"x": {"min": math.nan}}},
        {"parameters": {"x": {"max": math.inf}}},
        {"parameters": {"x": {"step": -math.inf}}},
        {"parameters": {"x": {"annotation": "list["}}},
        {"parameters": {"x": {"annotation": "Unknown"}}},
        {"parameters": {"x": {"annotation": "Motors", "devices": {"Motors": [":("]}}}},
        {"parameters": {"x": {"default": 5}}},
        {"parameters": {"x": {"nonsense": 5}}},
        {"parameters": {"y": {"description": "none such"}}},
        {"parameters": 5},
        {"nonsense": BadRepr()},
        5,
    ],
)
def test_notes_that_are_not_valid_are_left_out(notes):
    def plan(x):
        yield

    setattr(plan, ATTRIBUTE, notes)
    catalog = described(plan=plan)
    assert parameter_of(catalog).keys() == {"name", "kind"}
    warned(catalog, "plan 'plan'")
    with pytest.raises(CatalogError):
        describe_catalog({"plan": plan}, ignore_invalid_plans=False, registry=Registry())


def test_the_decorator_warns_of_notes_that_are_not_valid_and_the_plan_is_listed():
    with pytest.warns(UserWarning, match="Annotation of function 'plan' is not valid.*min"):

        @parameter_annotation_decorator({"parameters": {"x": {"min": "1"}}})
        def plan(x):
            yield

    warned(described(plan=plan), "plan 'plan'", "min")


def test_valid_notes_hold_beside_those_that_are_not():
    def plan(x, y):
        yield

    setattr(plan, ATTRIBUTE, {"parameters": {"x": {"nonsense": 5}, "y": {"max": 3}}})
    assert described(plan=plan).plans["plan"]["parameters"][1]["max"] == "3"


def test_texts_of_notes_with_lone_surrogates_are_cleaned():
    @parameter_annotation_decorator(
        {"parameters": {"x": {"description": LATIN, "annotation": "Names", "enums": {"Names": [LATIN]}}}}
    )
    def plan(x):
        yield

    catalog = described(plan=plan)
    assert parameter_of(catalog)["description"] == "M?ller"
    warned(catalog, "plan 'plan'", "cannot be sent")


def test_a_plan_whose_signature_cannot_be_read_is_left_out_and_named():
    catalog = described(odd=CannotBeCalledNormally())
    assert "Failed to create description of plan 'odd'" in catalog.skipped["odd"]
    warned(catalog, "plan 'odd' is not listed")


def test_a_loop_of_wrappers_costs_that_plan_only():
    def first(x):
        yield

    def second(x):
        return first(x)

    second.__wrapped__ = first  # pyright: ignore[reportFunctionMemberAccess]
    first.__wrapped__ = second  # pyright: ignore[reportFunctionMemberAccess]
    catalog = described(first=first, second=second)
    assert set(catalog.skipped) == {"first", "second"}


@pytest.mark.parametrize("cls", [RaisesAlways, RaisesAsClass, ExitsWhenRead, HasExitingName])
def test_an_object_that_raises_when_it_is_looked_at_costs_nothing_else(cls):
    catalog = described(odd=cls(), bad_repr=BadRepr())
    assert list(catalog.devices) == ["motor"]
    warned(catalog, f"'odd' ({cls.__name__}) is no device")


@pytest.mark.parametrize("name", [5, None, (1, 2), "", "a.b", f"det_{LATIN}", "line\nbreak"])
def test_what_has_no_name_that_an_item_could_use_is_left_out(name):
    catalog = describe_catalog({name: motor, "motor": motor, "good": good, 7: 8}, registry=Registry())
    assert list(catalog.devices) == ["motor"]
    assert len(catalog.warnings) == 1
    warned(catalog, "that is no name")
    orjson.dumps(catalog.warnings)


def test_names_of_classes_and_modules_are_cleaned():
    odd = type("Axis", (SynAxis,), {"__module__": LATIN})(name="odd")
    worse = type("Axis", (SynAxis,), {"__module__": 5})(name="worse")
    catalog = described(odd=odd, worse=worse)
    assert catalog.devices["odd"]["module"] == "M?ller"
    assert catalog.devices["worse"]["module"] == "5"


def test_devices_that_contain_each_other_are_described_once():
    class Node:
        parent = None
        component_names = ("up", "down")

        def __init__(self, name: str) -> None:
            self.name = name
            self.up = self.down = self

        def read(self) -> None: ...

        def describe(self) -> None: ...

    first, second = Node("first"), Node("second")
    first.down, second.up = second, first
    components = described(first=first).devices["first"]["components"]
    assert list(components) == ["down"]
    assert "components" not in components["down"]


def test_a_component_that_exits_costs_the_components_only():
    class Odd(Bare):
        component_names = ("bad",)

        @property
        def bad(self) -> None:
            raise SystemExit

    catalog = described(odd=Odd())
    assert catalog.devices["odd"]["is_readable"]
    assert "components" not in catalog.devices["odd"]
    warned(catalog, "device 'odd': component 'bad' of a Odd raises when it is looked at")


class Catalogue(Mapping[str, Any]):
    name = "catalogue"

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def read(self) -> None: ...

    def describe(self) -> None: ...


class MadeUp:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return ["made up"]


@pytest.mark.parametrize(
    "obj",
    [psutil.Process(), MagicMock(), xmlrpc.client.ServerProxy("http://127.0.0.1:9"), Catalogue(), Source(), MadeUp()],
    ids=lambda obj: type(obj).__name__,
)
def test_what_only_looks_like_a_device_is_not_listed(obj):
    assert list(described(odd=obj).devices) == ["motor"]


class HasNameMethod(Bare):
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "odd"


@pytest.mark.parametrize(
    ("obj", "reason"),
    [(Catalogue(), "it is a mapping"), (MagicMock(), "whatever attribute"), (HasNameMethod(), "its name is a method")],
    ids=lambda value: type(value).__name__,
)
def test_what_is_left_out_although_it_has_the_methods_of_a_device_is_named(obj, reason):
    catalog = described(odd=obj)
    assert list(catalog.devices) == ["motor"]
    warned(catalog, f"'odd' ({type(obj).__name__}) is not listed", reason, "register_device('odd')")


@pytest.mark.parametrize("obj", [psutil.Process(), Source()], ids=lambda obj: type(obj).__name__)
def test_what_nobody_means_as_a_device_is_not_named(obj):
    assert described(odd=obj).warnings == []


def test_a_device_that_is_registered_is_listed_whatever_it_looks_like():
    registry = Registry()
    registry.register_device("odd")
    catalog = describe_catalog({"odd": Catalogue(), "no_device": 5}, registry=registry)
    assert (list(catalog.devices), catalog.warnings) == (["odd"], [])


def test_an_object_that_passes_everything_on_to_a_device_is_a_device():
    class Behind:
        def __getattr__(self, name: str) -> Any:
            return getattr(motor, name)

    assert described(behind=Behind()).devices["behind"]["is_readable"]


# Plans that are hard to see.


def logged(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return inner


def hiding(func: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return inner


class Plans:
    def scan_it(self, num: int = 3):
        """Scan it."""
        yield

    def __call__(self, num: int):
        yield


class Marked(Plans):
    _is_plan_ = True


def test_a_plan_behind_a_decorator_is_listed_with_its_own_signature():
    @logged
    @logged
    def wrapped(detectors, num: int = 2):
        """Do it twice."""
        yield num

    catalog = described(wrapped=wrapped)
    assert catalog.plans["wrapped"]["name"] == "wrapped"
    assert catalog.plans["wrapped"]["description"] == "Do it twice."
    assert [p["name"] for p in catalog.plans["wrapped"]["parameters"]] == ["detectors", "num"]
    assert catalog.plans["wrapped"]["properties"] == {"is_generator": False}
    assert catalog.skipped == {}
    built = build_plan({"name": "wrapped", "args": [["motor"]]}, {"wrapped": wrapped, "motor": motor}, catalog)
    assert next(built()) == 2


def test_hints_and_notes_behind_a_decorator_count():
    @logged
    @parameter_annotation_decorator({"parameters": {"num": {"max": 5}}})
    def wrapped(detectors: list[str], num: int = 2):
        yield

    parameters = described(wrapped=wrapped).plans["wrapped"]["parameters"]
    assert parameters[0]["annotation"] == {"type": "list[str]"}
    assert parameters[1]["max"] == "5"


def test_a_partial_has_its_own_name_and_the_description_of_what_it_wraps():
    catalog = described(
        count_motor=functools.partial(count, [motor], num=3), twice=functools.partial(logged(good), [1])
    )
    plan = catalog.plans["count_motor"]
    assert (plan["name"], plan["module"]) == ("count_motor", "bluesky.plans")
    assert plan["description"] == "Take one or more readings from detectors."
    assert [p["name"] for p in plan["parameters"]][:2] == ["num", "delay"]
    assert plan["parameters"][0]["default"] == "3"
    assert catalog.plans["twice"]["name"] == "twice"
    assert [p["name"] for p in catalog.plans["twice"]["parameters"]] == ["num"]
    for ignore in (True, False):
        listed = describe_catalog({"p": functools.partial(scan)}, ignore_invalid_plans=ignore, registry=Registry())
        assert list(listed.plans) == ["p"]


def test_a_plan_behind_a_context_is_listed():
    @contextlib.contextmanager
    def context() -> Iterator[None]:
        yield

    @context()
    def plan(num: int):
        yield

    assert "plan" in described(plan=plan).plans


def test_methods_and_marked_objects_are_listed():
    catalog = described(scan_it=Plans().scan_it, marked=Marked())
    assert [p["name"] for p in catalog.plans["scan_it"]["parameters"]] == ["num"]
    assert catalog.plans["scan_it"]["description"] == "Scan it."
    assert catalog.plans["marked"]["name"] == "marked"


def test_what_looks_like_a_plan_is_named_with_the_reason():
    @hiding
    def hidden():
        yield

    def promises(num: int) -> MsgGenerator:
        return count([motor], num)

    def promises_text(num):
        return count([motor], num)

    promises_text.__annotations__["return"] = "Generator[Msg, None, None]"

    catalog = described(
        hidden=hidden, promises=promises, promises_text=promises_text, callable_=Plans(), called=count([motor])
    )
    assert catalog.skipped.keys() == {"hidden", "promises", "promises_text", "callable_", "called"}
    assert "'hidden': use functools.wraps" in catalog.skipped["hidden"]
    assert "has no 'yield'" in catalog.skipped["promises"]
    assert "_is_plan_" in catalog.skipped["callable_"]
    assert "without the parentheses" in catalog.skipped["called"]
    warned(catalog, "not listed although they look like plans (5): callable_, called", "`skybus plans --skipped`")


def test_what_has_nothing_of_a_plan_is_not_named():
    @contextlib.contextmanager
    def context() -> Generator[None, None, None]:
        yield

    def function() -> int:
        return 5

    def decorate(plan):
        return plan

    numbers = (n for n in range(3))
    namespace = {"numbers": numbers, "context": context, "function": function, "decorate": decorate, "Plans": Plans}
    catalog = described(**namespace, bluesky_plan=bluesky_plan, count=count, numpy=np)
    assert list(catalog.plans) == ["count", "good"]
    assert catalog.skipped == {}
    assert catalog.warnings == []


def test_no_plan_or_decorator_of_bluesky_is_named():
    import bluesky.plan_stubs
    import bluesky.plans
    import bluesky.preprocessors

    catalog = described(**(vars(bluesky.preprocessors) | vars(bluesky.plan_stubs) | vars(bluesky.plans)))
    assert catalog.skipped == {}


def test_remarks_are_bounded():
    plans = {f"plan_{n}": plan_with_default(object()) for n in range(200)}
    catalog = described(**plans)
    assert len(catalog.warnings) == 51
    assert catalog.warnings[-1] == "… and 150 more"
    assert max(map(len, catalog.warnings)) < 600
