"""docs/security.md promises nothing without a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
KEPT = PAGE.partition("## What is kept")[2].partition("## What is not protected")[0]


def rows() -> Iterator[str]:
    """The rows of the tables of what is kept, without their heads."""
    for table in re.findall(r"(?:^\|.*\n)+", KEPT, re.MULTILINE):
        yield from table.splitlines()[2:]


def existing() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize("row", list(rows()))
def test_what_is_kept_has_a_test(row: str) -> None:
    assert re.search(r"`test_\w+`", row), f"no test is named: {row}"


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert named - existing() == set()
