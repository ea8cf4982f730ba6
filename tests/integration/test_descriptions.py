"""The same startup code, described and checked by the reference and by us: docs/compat.md lists what differs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.reference_venv import ensure_devices

STARTUP = Path(__file__).parent / "startup_to_compare"
LISTED = {
    "documented_google": "Google sections",
    "documented_google_arguments": "Google sections",
    "documented_google_parameters": "Google sections",
    "documented_no_blank": "no blank line before a section",
    "hint_callable": "a bare Callable of collections.abc",
    "hint_forward": "hints that are strings",
    "hint_forward_unknown": "hints that are strings",
    "later_devices": "hints that are strings",
    "later_number": "hints that are strings",
    "later_unknown": "hints that are strings",
    "hint_instance": "a hint that is no type",
    "noted_a_call": "a type that is code",
}
"""Plans whose descriptions differ, and why; explained in docs/compat.md under the same words."""


@dataclass
class Lists:
    """What a list of plans and devices says."""

    plans: dict[str, Any]
    devices: dict[str, Any]


@pytest.fixture(scope="session")
def reference() -> Path:
    return ensure_devices()


@pytest.fixture(scope="session")
def theirs(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Lists:
    return _listed_by([str(reference / "bin" / "qserver-list-plans-devices")], tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    command = [sys.executable, "-m", "skybus.worker.list_plans_devices"]
    return _listed_by(command, tmp_path_factory.mktemp("ours"))


@pytest.mark.timeout(180)
def test_devices_are_described_as_the_reference_describes_them(theirs: Lists, ours: Lists) -> None:
    assert len(ours.devices) >= 60
    assert ours.devices == theirs.devices


@pytest.mark.timeout(180)
def test_plans_are_described_as_the_reference_describes_them(theirs: Lists, ours: Lists) -> None:
    assert len(ours.plans) >= 150
    differ = {name for name in {**theirs.plans, **ours.plans} if theirs.plans.get(name) != ours.plans.get(name)}
    assert differ == set(LISTED)
    explained = (Path(__file__).parents[2] / "docs" / "compat.md").read_text()
    assert [reason for reason in LISTED.values() if f"| {reason} |" not in explained] == []


def _listed_by(command: list[str], folder: Path) -> Lists:
    arguments = ["--startup-dir", str(STARTUP), "--file-dir", str(folder), "--file-name", "lists.yaml"]
    done = subprocess.run(
        [*command, *arguments, "--ignore-invalid-plans", "ON"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lists = yaml.load((folder / "lists.yaml").read_text(), Loader=yaml.CSafeLoader)
    for plan in lists["existing_plans"].values():
        for parameter in plan["parameters"]:
            _sort_names(parameter.get("annotation", {}))
    return Lists(lists["existing_plans"], lists["existing_devices"])


def _sort_names(annotation: dict[str, Any]) -> None:
    """Names that differ in capitals alone have no order of their own in the reference."""
    for section in ("devices", "plans"):
        for names in annotation.get(section, {}).values():
            names.sort()
