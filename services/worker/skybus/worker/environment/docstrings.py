"""Reads descriptions out of docstrings in NumPy and Google style."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

NUMPY_SECTION = re.compile(r"^(?P<title>[A-Z][A-Za-z ]*)\n-{3,}[ \t]*$", re.MULTILINE)
GOOGLE_SECTION = re.compile(r"^(?P<title>Args|Arguments|Parameters|Params):[ \t]*$", re.MULTILINE)
GOOGLE_PARAMETER = re.compile(r"^\*{0,2}(?P<name>[A-Za-z_]\w*)(\s*\([^)]*\))?\s*:\s*(?P<text>.*)$")


@dataclass(frozen=True)
class DocDescriptions:
    """What a docstring says about a plan and its parameters."""

    summary: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def read_docstring(docstring: str | None) -> DocDescriptions:
    """Return the first paragraph and the descriptions of parameters; empty where there are none."""
    if not docstring or not docstring.strip():
        return DocDescriptions()
    text = inspect.cleandoc(docstring)
    numpy_body = _numpy_sections(text).get("Parameters")
    parameters = _google_parameters(text) if numpy_body is None else _numpy_parameters(numpy_body)
    return DocDescriptions(_summary(text), parameters)


def _summary(text: str) -> str:
    """Return the first paragraph, up to the first section."""
    sections = [found.start() for found in (NUMPY_SECTION.search(text), GOOGLE_SECTION.search(text)) if found]
    return text[: min(sections, default=len(text))].split("\n\n", 1)[0].strip()


def _numpy_sections(text: str) -> dict[str, str]:
    found = list(NUMPY_SECTION.finditer(text))
    ends = [section.start() for section in found[1:]] + [len(text)]
    return {section["title"].strip(): text[section.end() : end] for section, end in zip(found, ends, strict=False)}


def _numpy_parameters(body: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for header, lines in _entries(body):
        description = _dedent(lines)
        for name in header.split(":", 1)[0].split(","):
            if stripped := name.replace("*", "").strip():
                parameters[stripped] = description
    return parameters


def _google_parameters(text: str) -> dict[str, str]:
    section = GOOGLE_SECTION.search(text)
    if not section:
        return {}
    body = inspect.cleandoc(_indented_block(text[section.end() :]))
    parameters: dict[str, str] = {}
    for header, lines in _entries(body):
        if found := GOOGLE_PARAMETER.match(header):
            parameters[found["name"]] = "\n".join(filter(None, [found["text"].strip(), _dedent(lines)]))
    return parameters


def _entries(body: str) -> list[tuple[str, list[str]]]:
    """Split a section into lines at the margin, each with the indented lines below it."""
    entries: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line.strip() and not line[0].isspace():
            entries.append((line, []))
        elif entries:
            entries[-1][1].append(line)
    return entries


def _indented_block(text: str) -> str:
    """Return the lines up to the first one back at the margin."""
    lines = text.lstrip("\n").splitlines()
    end = next((n for n, line in enumerate(lines) if line.strip() and not line[0].isspace()), len(lines))
    return "\n".join(lines[:end])


def _dedent(lines: list[str]) -> str:
    return inspect.cleandoc("\n" + "\n".join(lines)).strip("\n")
