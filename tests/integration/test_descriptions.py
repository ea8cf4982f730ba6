"""The same startup code, described and checked by the reference and by us: docs/compat.md lists what differs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from benchmarks.reference_venv import ensure_devices
from skybus.auth.catalogue import GroupView, build_catalogue
from skybus.auth.permissions import allowed_by_group, parse_permissions
from skybus.bus.api.catalog import PlanSchemas
from tests.integration.generated_items import generate_items
from tests.integration.generated_permissions import EVERYTHING, generate_permissions

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
    "hint_collectable": "Preparable and Collectable",
    "hint_preparable": "Preparable and Collectable",
    "prepare": "Preparable and Collectable",
}
"""Plans whose descriptions differ, and why; explained in docs/compat.md under the same words."""

VERDICTS = {
    "names": "a name that exists nowhere",
    "groups": "groups of `*args`",
    "sets": "a list for a set",
    "unknown": "a type that JSON values cannot have",
}
"""Why we refuse what the reference accepts (`names`), or accept what it refuses; explained there, too."""


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


def test_devices_are_described_as_the_reference_describes_them(theirs: Lists, ours: Lists) -> None:
    assert len(ours.devices) >= 60
    assert ours.devices == theirs.devices


def test_plans_are_described_as_the_reference_describes_them(theirs: Lists, ours: Lists) -> None:
    assert len(ours.plans) >= 150
    differ = {name for name in {**theirs.plans, **ours.plans} if theirs.plans.get(name) != ours.plans.get(name)}
    assert differ == set(LISTED)


def test_arguments_are_accepted_and_refused_as_by_the_reference(reference: Path, theirs: Lists, ours: Lists) -> None:
    plans = {plan["name"]: plan for name, plan in ours.plans.items() if plan == theirs.plans.get(name)}
    items = generate_items(plans, seed=4, each=8)
    their_verdicts = _said_by_reference(reference, plans, ours.devices, items=items)["verdicts"]
    our_refusals = _refusals(plans, ours.devices, items)
    differ = [
        (item, their_message, our_message)
        for item, (is_accepted, their_message), our_message in zip(items, their_verdicts, our_refusals, strict=True)
        if is_accepted is bool(our_message)
    ]
    assert [difference for difference in differ if _reason(*difference) not in VERDICTS] == []
    assert len(items) - len(differ) > 2_000
    assert min(sum(bool(message) for message in our_refusals), our_refusals.count("")) > 700


def test_a_group_may_use_what_it_may_use_in_the_reference(reference: Path, ours: Lists) -> None:
    devices = {name: device for name, device in ours.devices.items() if name.isascii()}
    plans = {name: plan for name, plan in ours.plans.items() if name not in LISTED and "détecteur" not in str(plan)}
    files = generate_permissions(seed=1, number=25)
    theirs = _said_by_reference(reference, plans, devices, permissions=files)["allowed"]
    for content, (their_plans, their_devices) in zip(files, theirs, strict=True):
        permissions = parse_permissions(content)
        allowed = allowed_by_group(permissions, plans, devices)
        for group in content["user_groups"]:
            assert allowed[group].devices == their_devices[group], content
            assert allowed[group].plans == their_plans[group], content


@pytest.mark.parametrize("name", ["hutch.table.nowhere", "not the variable's name", "nowhere", "hidden", "motor.name"])
def test_a_name_of_nothing_is_refused_for_a_device_and_taken_for_a_string(ours: Lists, name: str) -> None:
    view = _view(ours.plans, ours.devices)
    problem = view.problem({"item_type": "plan", "name": "count", "args": [["det1", name]]})
    assert problem
    assert f"Parameter 'detectors': Device '{name}' is not in the list of allowed devices" in problem.msg
    assert view.problem({"item_type": "plan", "name": "hint_str", "args": [name]}) is None


@pytest.mark.parametrize(
    ("plan", "args"),
    [
        ("scan", [["det1"], "motr1", -1, 1]),
        ("scan", [["det1"], "motor1", -1, 1, "motr2", -1, 1]),
        ("list_scan", [["det1"], "motr1", [1, 2]]),
        ("grid_scan", [["det1"], "motor1", -1, 1, 3, "motr2", -1, 1, 3]),
        ("mv", ["motor1", "Open", "motr2", 1]),
    ],
)
def test_a_misspelt_motor_of_a_plan_of_bluesky_is_refused(ours: Lists, plan: str, args: list[Any]) -> None:
    view = _view(ours.plans, ours.devices)
    problem = view.problem({"item_type": "plan", "name": plan, "args": args})
    assert problem
    assert "Parameter 'args': Device 'motr" in problem.msg
    corrected = [arg.replace("motr", "motor") if isinstance(arg, str) else arg for arg in args]
    assert view.problem({"item_type": "plan", "name": plan, "args": corrected}) is None


def test_every_plan_has_a_json_schema(ours: Lists) -> None:
    schemas, definitions = _view(ours.plans, ours.devices).schemas()
    described = PlanSchemas(schemas=schemas, definitions=definitions, uid="")
    for plan in ours.plans:
        Draft202012Validator.check_schema(described.document(plan))
    assert set(schemas) == set(ours.plans)


def test_every_difference_is_explained() -> None:
    explained = (Path(__file__).parents[2] / "docs" / "compat.md").read_text()
    assert [why for why in (*LISTED.values(), *VERDICTS.values()) if f"| {why} |" not in explained] == []


def _said_by_reference(
    reference: Path, plans: dict[str, Any], devices: dict[str, Any], **questions: list[Any]
) -> dict[str, list[Any]]:
    asked = json.dumps({"plans": plans, "devices": devices, "items": [], "permissions": [], **questions})
    command = [str(reference / "bin" / "python"), str(Path(__file__).with_name("check_by_reference.py"))]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _refusals(plans: dict[str, Any], devices: dict[str, Any], items: list[dict[str, Any]]) -> list[str]:
    view = _view(plans, devices)
    return [problem.msg if (problem := view.problem(item)) else "" for item in items]


def _view(plans: dict[str, Any], devices: dict[str, Any]) -> GroupView:
    permissions = parse_permissions({"user_groups": {"root": EVERYTHING, "primary": EVERYTHING}})
    return build_catalogue(permissions, plans, devices).groups["primary"]


def _reason(item: dict[str, Any], theirs: str, ours: str) -> str | None:
    """Say why the verdicts differ, if it is one of the known reasons."""
    if ours:
        about_names = "is not in the list of allowed" in ours or "should be the name of" in ours
        return "names" if about_names else None
    if "Unable to generate" in theirs or "Unable to infer" in theirs or item["name"] == "hint_msg":
        return "unknown"
    if "interpreted as '{" in theirs:
        return "sets"
    return "groups" if "args.0" in theirs and "valid tuple" in theirs else None


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
