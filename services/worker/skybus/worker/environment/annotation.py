"""`parameter_annotation_decorator`: what a plan's author tells clients about its parameters."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StringConstraints, ValidationError

from skybus.bus.messages import explain

ATTRIBUTE = "_custom_parameter_annotation_"
"""Where the annotation is kept on the plan; the name is shared with bluesky-queueserver, so its plans work too."""

TypeName = Annotated[str, StringConstraints(pattern=r"^[_a-zA-Z][_a-zA-Z0-9]*$")]
Names = list[str] | tuple[str, ...]
Number = StrictInt | StrictFloat


class ParameterNotes(BaseModel):
    """Everything that can be said about one parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str | None = None
    annotation: str | None = None
    devices: dict[TypeName, Names] = {}
    plans: dict[TypeName, Names] = {}
    enums: dict[TypeName, Names] = {}
    default: Any = None
    min: Number | None = None
    max: Number | None = None
    step: Number | None = None
    convert_plan_names: StrictBool | None = None
    convert_device_names: StrictBool | None = None


class PlanNotes(BaseModel):
    """Everything that can be said about one plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str | None = None
    parameters: dict[str, ParameterNotes] = {}


def parameter_annotation_decorator(annotation: Mapping[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Attach descriptions, types, defaults and ranges of parameters to a plan or function.

    It warns of notes that are not valid. What becomes of the plan is decided when the environment opens.
    """
    kept = copy.deepcopy(dict(annotation))

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        if problem := _problem(kept, func):
            warnings.warn(f"Annotation of function {getattr(func, '__name__', func)!r} {problem}", stacklevel=2)
        wrapper = _wrap(func)
        setattr(wrapper, ATTRIBUTE, kept)
        return wrapper

    return decorate


def notes_of(plan: Callable[..., Any]) -> PlanNotes:
    """Return what the decorator attached to a plan; empty notes if it was not decorated."""
    return PlanNotes.model_validate(getattr(plan, ATTRIBUTE, None) or {})


def valid_notes(plan: Callable[..., Any]) -> PlanNotes:
    """Return what is valid of the notes on a plan, where not all of them are."""
    noted = getattr(plan, ATTRIBUTE, None)
    parameters = noted.get("parameters") if isinstance(noted, Mapping) else None
    valid: dict[str, ParameterNotes] = {}
    for name, notes in parameters.items() if isinstance(parameters, Mapping) else ():
        with suppress(ValidationError):
            valid[str(name)] = ParameterNotes.model_validate(notes)
    return PlanNotes(parameters=valid)


def _wrap(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def plan(*args: Any, **kwargs: Any) -> Iterator[Any]:
        return (yield from func(*args, **kwargs))

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return plan if inspect.isgeneratorfunction(func) else function


def unknown_parameters(notes: PlanNotes, func: Callable[..., Any]) -> str:
    """Say which parameters the notes are about that a function does not have; nothing if it has them all."""
    unknown = sorted(set(notes.parameters) - set(inspect.signature(func).parameters))
    return f"describes parameters {unknown} that it does not have" if unknown else ""


def _problem(annotation: dict[str, Any], func: Callable[..., Any]) -> str:
    try:
        return unknown_parameters(PlanNotes.model_validate(annotation), func)
    except ValidationError as error:
        return f"is not valid: {explain(error)}"
