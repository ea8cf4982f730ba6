"""Describes a plan in the format that clients of bluesky-queueserver know."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from skybus.bus.messages import explain
from skybus.bus.name_patterns import matches, parse_device_pattern, parse_plan_pattern, select_devices
from skybus.bus.type_strings import parse_type
from skybus.worker.environment.annotation import (
    ATTRIBUTE,
    ParameterNotes,
    PlanNotes,
    notes_of,
    unknown_parameters,
    valid_notes,
)
from skybus.worker.environment.defaults import TooLongError, write_equivalent, write_literal, write_stand_in
from skybus.worker.environment.docstrings import DocDescriptions, read_docstring
from skybus.worker.environment.plan_layers import innermost, layers
from skybus.worker.environment.remarks import Remarks
from skybus.worker.environment.type_names import check_type_string, conversions, resolve_hint, type_name
from skybus.worker.environment.user_objects import NOT_OURS_TO_CATCH, ask, why

Description = dict[str, Any]

LONGEST_DESCRIPTION = 10_000
"""Characters of a description in the catalogue."""
_NO_NOTES = ParameterNotes()
_BY_DECORATOR = "give {} in parameter_annotation_decorator"


class CatalogError(ValueError):
    """A plan cannot be described: its signature or its annotation is not supported."""


class PlanDescriber:
    """Describes the plans of a namespace.

    Args:
        devices: Descriptions of the devices, for the decorator's patterns.
        plan_names: Names of all plans, for the decorator's patterns.
        name_of: Says how a device is called in the namespace.
        remarks: Told what is left out of a description.
        is_strict: Refuse a plan whose values or notes cannot be written, as bluesky-queueserver does.
    """

    def __init__(
        self,
        devices: Mapping[str, Any],
        plan_names: Iterable[str],
        name_of: Callable[[Any], str | None],
        remarks: Remarks,
        *,
        is_strict: bool,
    ) -> None:
        self._devices = devices
        self._plan_names = plan_names
        self._name_of = name_of
        self._remarks = remarks
        self._is_strict = is_strict

    def describe(self, name: str, plan: Callable[..., Any]) -> Description:
        """Describe one plan.

        Raises:
            CatalogError: It cannot be described.
        """
        try:
            return self._describe(name, plan)
        except NOT_OURS_TO_CATCH:
            raise
        except BaseException as error:  # whatever user code does when it is looked at
            raise CatalogError(f"Failed to create description of plan '{name}': {why(error)}") from error

    def _describe(self, name: str, plan: Callable[..., Any]) -> Description:
        named = innermost(plan) if isinstance(plan, functools.partial) else plan
        own_name = ask(lambda: getattr(plan, "__name__", None), None)
        notes, docs = self._notes(name, plan), self._docs(name, named)
        description: Description = {
            "name": own_name if isinstance(own_name, str) else name,
            "properties": {"is_generator": inspect.isgeneratorfunction(plan)},
            "parameters": [
                self._parameter(name, plan, parameter, notes.parameters.get(parameter.name, _NO_NOTES), docs.parameters)
                for parameter in inspect.signature(plan).parameters.values()
            ],
        }
        if isinstance(module := ask(lambda: named.__module__, None), str):
            description["module"] = module
        if text := notes.description or docs.summary:
            description["description"] = _cut(text)
        return description

    def _notes(self, name: str, plan: Callable[..., Any]) -> PlanNotes:
        noted = next((layer for layer in layers(plan) if hasattr(layer, ATTRIBUTE)), plan)
        try:
            notes = notes_of(noted)
        except ValidationError as error:
            explained = ask(functools.partial(explain, error), "") or "it cannot be read"
            self._invalid(name, None, f"its parameter_annotation_decorator is not valid: {explained}")
            return valid_notes(noted)
        if unknown := unknown_parameters(notes, innermost(plan)):
            self._invalid(name, None, f"parameter_annotation_decorator {unknown}")
        return notes

    def _docs(self, name: str, plan: Any) -> DocDescriptions:
        docstring = ask(lambda: plan.__doc__, None)
        if docstring is None:
            return DocDescriptions()
        docs = ask(lambda: read_docstring(docstring), None) if isinstance(docstring, str) else None
        if docs is None:
            self._remark(name, None, "its docstring cannot be read", "write it as text")
        return docs or DocDescriptions()

    def _parameter(
        self,
        name: str,
        plan: Callable[..., Any],
        parameter: inspect.Parameter,
        notes: ParameterNotes,
        docs: Mapping[str, str],
    ) -> Description:
        described: Description = {
            "name": parameter.name,
            "kind": {"name": parameter.kind.name, "value": parameter.kind.value},
        }
        if text := notes.description or docs.get(parameter.name):
            described["description"] = _cut(text)
        for flag in ("convert_plan_names", "convert_device_names"):
            if (value := getattr(notes, flag)) is not None:
                described[flag] = value
        if annotation := self._annotation(name, plan, parameter, notes):
            described["annotation"] = annotation
            own_types = {*notes.devices, *notes.plans, *notes.enums} if notes.annotation else ()
            for flag in conversions(annotation["type"], own_types):
                described.setdefault(flag, True)
        takes_names = described.get("convert_device_names", annotation is None)
        described |= self._default(name, parameter, notes, takes_names=takes_names)
        return described | self._limits(name, parameter.name, notes)

    def _annotation(
        self, name: str, plan: Callable[..., Any], parameter: inspect.Parameter, notes: ParameterNotes
    ) -> Description | None:
        """Return the type of a parameter: the decorator's, or the one in the signature."""
        if notes.annotation is None:
            return self._hint(name, plan, parameter)
        try:
            return self._noted_annotation(notes.annotation, notes)
        except ValueError as error:
            self._invalid(name, parameter.name, f"the decorator's type is left out: {why(error)}", error)
            return None

    def _hint(self, name: str, plan: Callable[..., Any], parameter: inspect.Parameter) -> Description | None:
        try:
            hint = resolve_hint(parameter.annotation, innermost(plan))
            written = None if hint is inspect.Parameter.empty else type_name(hint)
            if written:
                parse_type(written)
        except NOT_OURS_TO_CATCH:
            raise
        except BaseException as error:  # a hint may be any object
            what = f"its type hint cannot be written and is left out: {why(error)}"
            self._remark(name, parameter.name, what, _BY_DECORATOR.format("an 'annotation'"))
            return None
        return {"type": written} if written else None

    def _noted_annotation(self, type_string: str, notes: ParameterNotes) -> Description:
        check_type_string(type_string, [*notes.devices, *notes.plans, *notes.enums])
        annotation: Description = {"type": type_string}
        if notes.devices:
            annotation["devices"] = {key: self._device_names(names) for key, names in notes.devices.items()}
        if notes.plans:
            annotation["plans"] = {key: self._names_of_plans(names) for key, names in notes.plans.items()}
        if notes.enums:
            annotation["enums"] = {key: list(names) for key, names in notes.enums.items()}
        return annotation

    def _device_names(self, names: Iterable[str]) -> list[str]:
        return _in_order(select_devices([parse_device_pattern(name, re.compile) for name in names], self._devices))

    def _names_of_plans(self, names: Iterable[str]) -> list[str]:
        found: set[str] = set()
        for text in names:
            pattern = parse_plan_pattern(text, re.compile)
            found.update([name for name in self._plan_names if matches(pattern, name)] if pattern.is_regex else [text])
        return _in_order(found)

    def _default(
        self, name: str, parameter: inspect.Parameter, notes: ParameterNotes, *, takes_names: bool
    ) -> Description:
        """Return the default as text; one in the decorator replaces the one in the signature."""
        has_default = parameter.default is not inspect.Parameter.empty
        if notes.default is not None:
            try:
                if not has_default:
                    raise ValueError(f"the decorator has a default, {notes.default!r}, but the plan signature has none")
                return {"default": write_literal(notes.default), "default_defined_in_decorator": True}
            except ValueError as error:
                self._invalid(name, parameter.name, f"the decorator's default is left out: {why(error)}", error)
        return self._own_default(name, parameter, takes_names=takes_names) if has_default else {}

    def _own_default(self, name: str, parameter: inspect.Parameter, *, takes_names: bool) -> Description:
        value = parameter.default
        try:
            return {"default": write_literal(value)}
        except TooLongError as error:
            self._remark(name, parameter.name, f"{why(error)}; a text stands for it")
        except ValueError as error:
            if self._is_strict:
                raise _about(parameter.name, error) from error
            try:
                return {"default": write_equivalent(value, self._name_of if takes_names else _no_name)}
            except NOT_OURS_TO_CATCH:
                raise
            except BaseException:  # of a value that user code has made
                way_out = _BY_DECORATOR.format("a default")
                self._remark(name, parameter.name, f"{why(error)}; it stays, and a text stands for it", way_out)
        return write_stand_in(value)

    def _limits(self, name: str, parameter: str, notes: ParameterNotes) -> Description:
        described: Description = {}
        for limit, value in (("min", notes.min), ("max", notes.max), ("step", notes.step)):
            if value is None:
                continue
            if math.isfinite(value):
                described[limit] = _number(value)
            else:
                self._invalid(name, parameter, f"the decorator's '{limit}' is no number but {value} and is left out")
        return described

    def _invalid(self, name: str, parameter: str | None, what: str, error: ValueError | None = None) -> None:
        """Refuse a plan for what is wrong with its notes, or say that it is left out of the description."""
        if self._is_strict:
            problem = error or ValueError(what)
            raise (_about(parameter, problem) if parameter else problem)
        self._remark(name, parameter, what)

    def _remark(self, name: str, parameter: str | None, what: str, way_out: str = "") -> None:
        where = f"plan '{name}', parameter '{parameter}'" if parameter else f"plan '{name}'"
        self._remarks.add(f"{where}: {what}{f'; {way_out}' if way_out else ''}")


def _about(parameter: str, error: ValueError) -> ValueError:
    way_out = "" if "decorator" in str(error) else f"; {_BY_DECORATOR.format('one')}"
    return ValueError(f"Parameter '{parameter}': {error}{way_out}")


def _no_name(_device: Any) -> None:
    return None


def _in_order(names: Iterable[str]) -> list[str]:
    """Sort without regard to case, capitals first among equals."""
    return sorted(set(names), key=lambda name: (name.upper(), name[:1].islower(), name))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_DESCRIPTION else f"{text[:LONGEST_DESCRIPTION]}…"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)
