"""Finds the plan behind partials, methods and decorators, and says why something that looks like a plan is none."""

from __future__ import annotations

import collections.abc
import contextlib
import functools
import inspect
import typing
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from bluesky.utils import Plan, is_plan

from skybus.worker.environment.user_objects import ask

MOST_LAYERS = 100
"""Decorators upon each other that are looked through."""
LIBRARIES = ("bluesky", "contextlib", "functools", "ophyd", "ophyd_async", "skybus")
"""Packages whose functions are what they say: none of them was meant to be a plan and is not seen."""
_PLAN_HINTS = ("MsgGenerator", "PlanGenerator", "Generator[Msg", "Generator[bluesky")
_GENERATORS = (collections.abc.Generator, typing.Generator)


def layers(obj: Any) -> Iterator[Any]:
    """Go through an object and what it wraps, from the outside in."""
    seen: set[int] = set()
    while obj is not None and id(obj) not in seen and len(seen) < MOST_LAYERS:
        seen.add(id(obj))
        yield obj
        obj = _wrapped(obj)


def innermost(obj: Any) -> Any:
    """Return what is behind all partials, methods and decorators."""
    return list(layers(obj))[-1]


def is_listed_plan(obj: Any) -> bool:
    """Tell whether an object is a plan, or wraps one as `functools.wraps` and `functools.partial` do."""
    if isinstance(obj, type) or not callable(obj):
        return False
    for layer in layers(obj):
        if _makes_context(layer):
            return False
        if is_plan(layer) is True:
            return True
    return False


def why_not_listed(obj: Any) -> str | None:
    """Say why something that looks like a plan is not listed; nothing for all that does not."""
    if isinstance(obj, type):
        return None
    if isinstance(obj, Plan) or (inspect.isgenerator(obj) and obj.gi_code.co_name != "<genexpr>"):
        return "it is a plan that was called already: give the function a name, without the parentheses"
    if not callable(obj) or _is_of_library(obj):
        return None
    if not isinstance(obj, FunctionType):
        if inspect.isgeneratorfunction(inspect.getattr_static(type(obj), "__call__", None)):
            return "its __call__ is a plan: set `_is_plan_ = True` in its class, or give the method a name"
        return None
    if any(_makes_context(layer) for layer in layers(obj)):
        return None
    if hidden := _hidden_plan(obj):
        return f"a decorator hides the plan '{hidden}': use functools.wraps in the decorator"
    if _promises_messages(obj):
        return "it is annotated as a plan and has no 'yield': decorate it with bluesky.utils.plan, or use 'yield from'"
    return None


def _wrapped(obj: Any) -> Any:
    if isinstance(obj, functools.partial):
        return obj.func
    if isinstance(obj, MethodType):
        return obj.__func__
    if inspect.getattr_static(obj, "__wrapped__", None) is None:  # objects may make up what they are asked for
        return None
    return ask(lambda: obj.__wrapped__, None)


def _makes_context(layer: Any) -> bool:
    """Whether it is what `contextlib.contextmanager` makes of a generator function."""
    is_of_contextlib = isinstance(layer, FunctionType) and layer.__globals__ is vars(contextlib)
    return is_of_contextlib and layer.__code__.co_name == "helper"


def _is_of_library(obj: Any) -> bool:
    module = ask(lambda: obj.__module__, "")
    return isinstance(module, str) and module.split(".")[0] in LIBRARIES


def _hidden_plan(function: FunctionType) -> str | None:
    """Return the name of a plan that a function has in its closure, as what a decorator without `wraps` returns has."""
    for cell in function.__closure__ or ():
        held = ask(lambda cell=cell: cell.cell_contents, None)
        if ask(lambda held=held: is_listed_plan(held), otherwise=False):
            return str(ask(lambda held=held: innermost(held).__name__, "?"))
    return None


def _promises_messages(function: FunctionType) -> bool:
    hint = ask(lambda: function.__annotations__.get("return"), None)
    if isinstance(hint, str):
        return any(word in hint for word in _PLAN_HINTS) or hint.split("[")[0].split(".")[-1] == "Generator"
    return hint in _GENERATORS or typing.get_origin(hint) in _GENERATORS
