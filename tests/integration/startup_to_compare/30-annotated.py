"""Plans with the decorator."""

from typing import Any

from bluesky_queueserver import parameter_annotation_decorator as annotate

ANNOTATIONS: dict[str, dict[str, Any]] = {
    "description_only": {"description": "What the value is for."},
    "type_only": {"annotation": "int"},
    "type_list": {"annotation": "typing.List[float]"},
    "type_bar": {"annotation": "list[int] | None"},
    "type_nested": {"annotation": "typing.Dict[str, typing.List[typing.Tuple[int, str]]]"},
    "type_none": {"annotation": "NoneType"},
    "type_spaces": {"annotation": "  typing.Union[ int , str ] "},
    "type_literal": {"annotation": "typing.Literal['a', 'b', 3]"},
    "type_collections": {"annotation": "collections.abc.Sequence[int]"},
    "type_any": {"annotation": "typing.Any"},
    "plan_name": {"annotation": "__PLAN__"},
    "device_name": {"annotation": "__DEVICE__"},
    "plan_or_device": {"annotation": "__PLAN_OR_DEVICE__"},
    "readable": {"annotation": "__READABLE__"},
    "movables": {"annotation": "typing.List[__MOVABLE__]"},
    "flyable": {"annotation": "typing.Optional[__FLYABLE__]"},
    "function": {"annotation": "__CALLABLE__"},
    "readable_or_float": {"annotation": "typing.Union[__READABLE__, float]"},
    "devices": {"annotation": "Motors", "devices": {"Motors": ["motor1", "motor2", "hutch.table.top.x"]}},
    "device_list": {"annotation": "typing.List[Motors]", "devices": {"Motors": ("motor1", "motor2")}},
    "device_union": {
        "annotation": "typing.Union[Motors, typing.List[Dets]]",
        "devices": {"Motors": ["motor1"], "Dets": ["det1", "det2"]},
    },
    "device_pattern": {"annotation": "Motors", "devices": {"Motors": [":^motor"]}},
    "device_levels": {"annotation": "Parts", "devices": {"Parts": [":^hutch$:^table$:.*"]}},
    "device_skipping": {"annotation": "Parts", "devices": {"Parts": [":-^hutch$:-^table$:^top$:^x$"]}},
    "device_including": {"annotation": "Parts", "devices": {"Parts": [":+^hutch$:^table$"]}},
    "device_full": {"annotation": "Parts", "devices": {"Parts": [":?^hutch.*x$"]}},
    "device_depth": {"annotation": "Parts", "devices": {"Parts": [":?.*:depth=2"]}},
    "device_deeper": {"annotation": "Parts", "devices": {"Parts": [":^beamline$:?.*:depth=2"]}},
    "device_readable": {"annotation": "Parts", "devices": {"Parts": ["__READABLE__:?.*:depth=1"]}},
    "device_detectors": {"annotation": "Parts", "devices": {"Parts": ["__DETECTOR__:.*"]}},
    "device_motors": {"annotation": "Parts", "devices": {"Parts": ["__MOTOR__:?^hutch"]}},
    "device_flyers": {"annotation": "Parts", "devices": {"Parts": ["__FLYABLE__:.*"]}},
    "device_twice": {"annotation": "Parts", "devices": {"Parts": ["motor1", ":^motor1$", "Motor1", "unknown"]}},
    "device_none": {"annotation": "Parts", "devices": {"Parts": [":^nothing_like_it$"]}},
    "device_empty": {"annotation": "Parts", "devices": {"Parts": []}},
    "plans": {"annotation": "Plans", "plans": {"Plans": ["count", "no_parameters", "unknown"]}},
    "plan_pattern": {"annotation": "typing.List[Plans]", "plans": {"Plans": [":^keyword", ":^many_"]}},
    "enums": {"annotation": "Names", "enums": {"Names": ["one", "two", "three"]}},
    "enum_list": {"annotation": "typing.List[Names]", "enums": {"Names": ("b", "a", "b")}},
    "enum_or_number": {"annotation": "typing.Union[Names, float]", "enums": {"Names": ["auto"]}},
    "enum_optional": {"annotation": "typing.Optional[Names]", "enums": {"Names": ["auto", "two words", "é"]}},
    "mixed": {
        "annotation": "typing.Union[Plans, Devices, Names]",
        "plans": {"Plans": ["count"]},
        "devices": {"Devices": ["det1"]},
        "enums": {"Names": ["none"]},
    },
    "own_readable": {"annotation": "__READABLE__", "devices": {"__READABLE__": ["det1"]}},
    "default": {"annotation": "int", "default": 5},
    "default_string": {"annotation": "Motors", "devices": {"Motors": ["motor1"]}, "default": "motor1"},
    "default_list": {"default": ["det1", 2, {"a": None}]},
    "default_zero": {"default": 0},
    "default_false": {"default": False},
    "default_text": {"default": ""},
    "default_object": {"default": object()},
    "limits": {"annotation": "float", "min": 0, "max": 10.5, "step": 0.1},
    "limit_low": {"annotation": "int", "min": -5},
    "limit_high": {"annotation": "typing.List[float]", "max": 1e3},
    "limit_small": {"min": 1e-7, "max": 1e-3, "step": 1e-9},
    "limit_large": {"min": -1e20, "max": 10**20, "step": 1.0},
    "limit_any": {"annotation": "typing.Any", "min": 1, "max": 2},
    "limit_dict": {"annotation": "typing.Dict[str, float]", "min": 0, "max": 1},
    "convert_devices": {"annotation": "str", "convert_device_names": True},
    "convert_plans": {"annotation": "typing.List[str]", "convert_plan_names": True},
    "convert_nothing": {"convert_plan_names": False, "convert_device_names": False},
    "convert_no_devices": {"annotation": "__DEVICE__", "convert_device_names": False},
    "convert_plan_only": {"annotation": "__PLAN_OR_DEVICE__", "convert_device_names": False},
    "empty": {},
    "unknown_type": {"annotation": "Unknown"},
    "unknown_in_list": {"annotation": "typing.List[Unknown]"},
    "unused_type": {"annotation": "str", "devices": {"Motors": ["motor1"]}},
    "no_expression": {"annotation": "typing.List["},
    "no_type": {"annotation": "5"},
    "a_call": {"annotation": "print('called')"},
    "devices_without_type": {"devices": {"Motors": ["motor1"]}},
    "bad_pattern": {"annotation": "Motors", "devices": {"Motors": [":^("]}},
    "unknown_keyword": {"annotation": "Motors", "devices": {"Motors": ["__ODD__:.*"]}},
}

REFUSED: dict[str, dict[str, Any]] = {
    "other_key": {"other": 1},
    "description_number": {"description": 1},
    "type_number": {"annotation": 1},
    "devices_list": {"annotation": "Motors", "devices": ["motor1"]},
    "devices_text": {"annotation": "Motors", "devices": {"Motors": "motor1"}},
    "devices_numbers": {"annotation": "Motors", "devices": {"Motors": [1]}},
    "enum_numbers": {"annotation": "Names", "enums": {"Names": [1, 2]}},
    "odd_type_name": {"annotation": "A", "devices": {"1A": ["motor1"]}},
    "min_text": {"min": "1"},
    "step_true": {"step": True},
    "convert_number": {"convert_device_names": 1},
}


def _annotated(name: str, notes: dict[str, Any]) -> Any:
    def plan(p=None):
        """Do it.

        Parameters
        ----------
        p
            From the docstring.
        """
        yield from ()

    plan.__name__ = name
    return annotate({"parameters": {"p": notes}})(plan)


for _name, _notes in ANNOTATIONS.items():
    globals()[f"noted_{_name}"] = _annotated(f"noted_{_name}", _notes)

for _name, _notes in REFUSED.items():
    try:
        globals()[f"refused_{_name}"] = _annotated(f"refused_{_name}", _notes)
    except Exception:
        globals()[f"refused_{_name}"] = "as it should be"


@annotate({"description": "Said by the decorator.", "parameters": {"a": {"description": "First."}, "args": {}}})
def annotated(a: int, *args: float, b=2):
    """Said by the docstring."""
    yield from ()


@annotate({"parameters": {"args": {"annotation": "Motors", "devices": {"Motors": ["motor1", "motor2"]}}}})
def annotated_args(*args):
    yield from ()


@annotate({"parameters": {"kwargs": {"annotation": "typing.List[int]", "min": 0}}})
def annotated_kwargs(**kwargs):
    yield from ()


@annotate({"parameters": {"a": {"default": 1}}})
def default_without_one(a):
    yield from ()


@annotate({"description": "No plan."})
def annotated_function(a: int):
    return a


@annotate({})
def annotated_with_nothing(a: int):
    yield from ()
