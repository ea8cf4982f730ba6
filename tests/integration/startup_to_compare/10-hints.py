"""Plans that say what they take in type hints."""

import collections
import collections.abc
import enum
import typing
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Dict, List, Literal, Optional, Set, Tuple, TypeVar, Union

import numpy
from bluesky import protocols
from bluesky.protocols import Flyable, Movable, NamedMovable, Readable, Triggerable
from bluesky.utils import Msg, MsgGenerator, plan
from bluesky_queueserver import register_plan

T = TypeVar("T")


class Colour(enum.Enum):
    red = "red"


HINTS = {
    "int": int,
    "float": float,
    "complex": complex,
    "bool": bool,
    "str": str,
    "bytes": bytes,
    "none": None,
    "none_type": type(None),
    "object": object,
    "type": type,
    "list": list,
    "tuple": tuple,
    "set": set,
    "dict": dict,
    "any": Any,
    "list_of_int": list[int],
    "list_of_float": list[float],
    "list_of_str": list[str],
    "list_of_any": list[Any],
    "set_of_int": set[int],
    "frozenset_of_str": frozenset[str],
    "dict_of_float": dict[str, float],
    "dict_of_int": dict[str, int],
    "dict_of_any": dict[str, Any],
    "dict_of_lists": dict[str, list[float]],
    "list_of_dicts": list[dict[str, int]],
    "pair": tuple[int, str],
    "many": tuple[float, ...],
    "no_places": tuple[()],
    "old_list": List,
    "old_list_of_int": List[int],
    "old_dict": Dict,
    "old_dict_of_int": Dict[str, int],
    "old_tuple": Tuple,
    "old_pair": Tuple[int, float],
    "old_many": Tuple[str, ...],
    "old_set": Set[int],
    "nested": List[Tuple[Dict[str, List[int]], float]],
    "optional_int": Optional[int],
    "optional_list": Optional[List[str]],
    "optional_dict": Optional[Dict[str, Any]],
    "union": Union[int, str],
    "union_float_int": Union[float, int],
    "union_int_float": Union[int, float],
    "union_of_lists": Union[List[int], List[str]],
    "union_three": Union[bool, str, None],
    "bar": int | str,
    "bar_none": float | None,
    "bar_lists": list[int] | float | None,
    "bar_bool": bool | float,
    "literal": Literal["fast", "slow"],
    "literal_mixed": Literal[1, "one", True, None],
    "literal_or_float": Literal["auto"] | float,
    "optional_literal": Optional[Literal["a", "b"]],
    "sequence": Sequence,
    "sequence_of_int": Sequence[int],
    "typing_sequence": typing.Sequence[float],
    "bare_typing_sequence": typing.Sequence,
    "iterable": Iterable,
    "iterable_of_float": Iterable[float],
    "typing_iterable": typing.Iterable,
    "typing_iterable_of_int": typing.Iterable[int],
    "float_or_iterable": float | Iterable[float],
    "union_with_iterable": Union[float, Iterable, None],
    "mapping": Mapping,
    "mapping_of_int": Mapping[str, int],
    "typing_mapping": typing.Mapping[str, Any],
    "iterator": Iterator[int],
    "generator": Generator[int, None, None],
    "msg_generator": MsgGenerator,
    "msg": Msg,
    "collection": collections.abc.Collection[int],
    "container": collections.abc.Container,
    "hashable": collections.abc.Hashable,
    "typing_hashable": typing.Hashable,
    "sized": collections.abc.Sized,
    "deque": collections.deque,
    "ordered_dict": collections.OrderedDict,
    "default_dict": collections.defaultdict,
    "typing_deque": typing.Deque[int],
    "typing_ordered_dict": typing.OrderedDict[str, int],
    "callable": Callable,
    "callable_of": Callable[[int, str], float],
    "callable_any": Callable[..., Any],
    "typing_callable": typing.Callable,
    "typing_callable_of": typing.Callable[[int], None],
    "optional_callable": Optional[Callable],
    "callable_or_none": Callable[[str], int] | None,
    "list_of_callables": List[Callable],
    "callable_with_devices": Callable[[Readable, Sequence[Movable]], None],
    "readable": Readable,
    "movable": Movable,
    "flyable": Flyable,
    "named_movable": NamedMovable,
    "triggerable": Triggerable,
    "configurable": protocols.Configurable,
    "locatable": protocols.Locatable,
    "stageable": protocols.Stageable,
    "pausable": protocols.Pausable,
    "stoppable": protocols.Stoppable,
    "subscribable": protocols.Subscribable,
    "checkable": protocols.Checkable,
    "collectable": protocols.Collectable,
    "preparable": protocols.Preparable,
    "has_name": protocols.HasName,
    "status": protocols.Status,
    "movable_of_float": Movable[float],
    "list_of_readables": list[Readable],
    "old_list_of_readables": List[Readable],
    "sequence_of_readables": Sequence[Readable],
    "optional_movable": Optional[Movable],
    "readable_or_list": Readable | list[Readable],
    "union_of_devices": Union[Readable, Movable],
    "dict_of_movables": Dict[str, Movable],
    "pairs": List[Tuple[Movable, float]],
    "movable_or_any": Movable | Any,
    "flyable_or_none": Flyable | None,
    "annotated": Annotated[int, "counts"],
    "annotated_list": list[Annotated[int, "counts"]],
    "ndarray": numpy.ndarray,
    "numpy_float": numpy.float64,
    "enum_class": Colour,
    "pair_class": Pair,
    "list_of_pairs": list[Pair],
    "optional_pair_class": Optional[Pair],
    "type_variable": T,
    "list_of_type_variable": List[T],
    "forward": "int",
    "forward_unknown": "NotThere",
    "forward_list": List["Pair"],
    "instance": 5,
}


def _hinted(name: str, hint: Any) -> Callable:
    def hinted(p):
        yield from ()

    hinted.__name__ = hinted.__qualname__ = f"hint_{name}"
    hinted.__annotations__ = {"p": hint}
    return hinted


for _name, _hint in HINTS.items():
    globals()[f"hint_{_name}"] = _hinted(_name, _hint)


def no_parameters():
    yield from ()


def untyped(a, b=1, *args, c, d=None, **kwargs):
    yield from ()


def positional_only(a: int, /, b: int = 1):
    yield from ()


def keyword_only(*, a: int, b: float = 0.5):
    yield from ()


def many_values(*args: int):
    yield from ()


def many_readables(*args: Readable, num: int = 1):
    yield from ()


def motors_and_positions(detectors: Sequence[Readable], *args: Movable | Any, num: int | None = None):
    yield from ()


def groups(*args: tuple[Movable, float, float]):
    yield from ()


def many_names(**kwargs: float):
    yield from ()


def many_lists(**kwargs: list[int]):
    yield from ()


def everything(a: int, /, b: str = "b", *args: float, c: bool = False, **kwargs: Any) -> MsgGenerator:
    yield from ()


def defaults(a=1, b=-2.5, c="text", d=None, e=True, f=(1, 2), g=[1, "x"], h={"a": [1]}, i=b"x", j=1 + 2j, k={1, 2}):  # noqa: B006
    yield from ()


def default_of_other_type(a: int = "many", b: list[int] = None):
    yield from ()


def empty_defaults(a="", b=(), c=[], d={}, e=0, f=0.0):  # noqa: B006
    yield from ()


def number_defaults(a=1e-9, b=1e300, c=10**20, d=-0.0):
    yield from ()


def default_infinite(a=float("inf")):
    yield from ()


def default_object(a=motor):
    yield from ()


def default_class(a=int):
    yield from ()


def default_enum(a=Colour.red):
    yield from ()


def default_numpy(a=numpy.float64(1.5)):  # noqa: B008
    yield from ()


def default_array(a=numpy.zeros(3)):  # noqa: B008
    yield from ()


def default_ellipsis(a=...):
    yield from ()


def default_empty_set(a=set()):  # noqa: B006
    yield from ()


def default_lambda(a=lambda: None):
    yield from ()


@plan
def marked(a: int = 1) -> MsgGenerator:
    return no_parameters()


def no_plan(a: int):
    return 1


class PlanClass:
    def __call__(self):
        yield from ()

    def method(self, a: int, b: Readable | None = None):
        yield from ()


a_lambda = lambda a, b=2: (yield from ())  # noqa: E731
bound_method = PlanClass().method
callable_object = PlanClass()
_private_plan = _hinted("private", int)
second_name = keyword_only
registered_plan, hidden_plan = _hinted("registered", str), _hinted("hidden", str)
register_plan("registered_plan")
register_plan("hidden_plan", exclude=True)
register_plan("no_such_plan")
register_plan("no_plan")
