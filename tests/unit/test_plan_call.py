"""Strings in a queue item become the objects that the plan's author expects."""

import pytest
from bluesky.protocols import Readable
from ophyd.sim import SynAxis, SynGauss

from skybus.bus.errors import InvalidError, NotFoundError
from skybus.worker.environment.annotation import parameter_annotation_decorator
from skybus.worker.environment.catalog import describe_catalog
from skybus.worker.environment.plan_call import build_plan, plan_metadata
from skybus.worker.environment.registry import Registry

det = SynGauss("det", motor := SynAxis(name="motor"), "motor", center=0, Imax=1)


def untyped(*args, **kwargs):
    yield args, kwargs


def typed(detectors: list[Readable], label: str = "", names: list[str] | None = None):
    yield detectors, label, names


@parameter_annotation_decorator(
    {
        "parameters": {
            "device": {"annotation": "D", "devices": {"D": ["det"]}, "default": "det"},
            "mode": {"annotation": "M", "enums": {"M": ["motor", "det"]}},
            "kept": {"annotation": "list[__DEVICE__]", "convert_device_names": False},
            "function": {"annotation": "__CALLABLE__"},
        }
    }
)
def annotated(device=None, mode="", kept=(), function=None):
    yield device, mode, kept, function


NAMESPACE = {"untyped": untyped, "typed": typed, "annotated": annotated, "det": det, "motor": motor, "some_list": [1]}
CATALOG = describe_catalog(NAMESPACE, registry=Registry())


def _call(name, *args, **kwargs):
    (yielded,) = list(build_plan({"name": name, "args": args, "kwargs": kwargs}, NAMESPACE, CATALOG)())
    return yielded


def test_names_become_objects_also_inside_lists_and_dictionaries():
    args, kwargs = _call("untyped", "det", ["motor", {"deep": ["det.val"]}], key="motor", other="dett", plan="typed")

    assert args == (det, [motor, {"deep": [det.val]}])
    assert kwargs == {"key": motor, "other": "dett", "plan": typed}


def test_strings_stay_strings_where_the_type_is_str():
    assert _call("typed", ["det"], label="det", names=["motor"]) == ([det], "det", ["motor"])


def test_decorator_decides_what_is_replaced():
    assert _call("annotated", mode="motor", kept=["det"], function="some_list.append") == (
        det,
        "motor",
        ["det"],
        NAMESPACE["some_list"].append,
    )


def test_the_given_item_is_not_changed():
    item = {"name": "untyped", "args": [["det"]], "kwargs": {"a": {"b": "det"}}}
    build_plan(item, NAMESPACE, CATALOG)
    assert item == {"name": "untyped", "args": [["det"]], "kwargs": {"a": {"b": "det"}}}


def test_each_call_makes_a_fresh_plan_from_the_present_namespace():
    def newer(*args, **kwargs):
        yield "newer"

    plan = build_plan({"name": "untyped"}, {**NAMESPACE, "untyped": newer}, CATALOG)
    assert list(plan()) == list(plan()) == ["newer"]


def test_a_catalog_without_a_device_leaves_its_name_alone():
    limited = describe_catalog({**NAMESPACE, "motor": None}, registry=Registry())
    ((args, _),) = list(build_plan({"name": "untyped", "args": ["motor", "det"]}, NAMESPACE, limited)())

    assert args[0] == "motor"
    assert isinstance(args[1], SynGauss)


def test_a_device_that_is_gone_is_refused_and_its_name_not_given_to_the_plan():
    with pytest.raises(NotFoundError, match="'motor' is listed, but it is no longer there: update the environment"):
        build_plan({"name": "untyped", "args": [["motor"]]}, {**NAMESPACE, "motor": None}, CATALOG)


def test_unknown_plan_and_wrong_arguments_are_refused():
    with pytest.raises(NotFoundError, match="'nothing'"):
        build_plan({"name": "nothing"}, NAMESPACE, CATALOG)
    with pytest.raises(InvalidError, match="missing a required argument: 'detectors'"):
        build_plan({"name": "typed"}, NAMESPACE, CATALOG)


def test_metadata_of_the_first_dictionary_wins():
    assert plan_metadata({"meta": [{"a": 1}, {"a": 2, "b": 3}]}) == {"a": 1, "b": 3}
    assert plan_metadata({}) == {}
