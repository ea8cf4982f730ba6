"""Devices from a real happi database, as startup code asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skybus.worker.environment.happi_devices import load_devices_from_happi


def entry(name: str, device_class: str, **more: object) -> dict:
    kwargs = {"name": "{{name}}"}
    return {"name": name, "device_class": device_class, "args": [], "kwargs": kwargs, "type": "OphydItem", **more}


ENTRIES = {
    "det": entry("det", "ophyd.sim.DetWithCountTime", active=True),
    "tst_motor": entry("tst_motor", "ophyd.sim.SynAxis", active=True),
    "twice_1": entry("twice", "ophyd.sim.SynAxis", active=True),
    "twice_2": entry("twice", "ophyd.sim.SynAxis", active=False),
}


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "db.json").write_text(json.dumps({key: {"_id": key, **entry} for key, entry in ENTRIES.items()}))
    (tmp_path / "happi.ini").write_text(f"[DEFAULT]\nbackend=json\npath={tmp_path / 'db.json'}\n")
    monkeypatch.setenv("HAPPI_CFG", str(tmp_path / "happi.ini"))


def test_devices_are_put_into_the_namespace_under_the_names_wanted_here():
    namespace = {"other": 1}
    assert load_devices_from_happi(["det", ("tst_motor", "motor")], namespace=namespace) == ["det", "motor"]
    assert (namespace["det"].name, namespace["motor"].name, namespace["other"]) == ("det", "motor", 1)


def test_a_search_may_say_more_than_the_name():
    namespace = {}
    assert load_devices_from_happi([("twice", "")], namespace=namespace, active=True) == ["twice"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["twice"], "happi has 2 devices named 'twice'"),
        (["nowhere"], "happi has no device named 'nowhere'"),
    ],
)
def test_a_name_must_lead_to_one_device(names, message):
    with pytest.raises(RuntimeError, match=message):
        load_devices_from_happi(names, namespace={})


@pytest.mark.parametrize(
    ("names", "namespace", "message"),
    [
        (["det"], [], "namespace must be a dictionary"),
        ("det", {}, "device_names must be a list"),
        ([("det", "Motor")], {}, "cannot be called 'Motor'"),
        ([("det", "a", "b")], {}, "names or pairs of names"),
    ],
)
def test_arguments_are_checked(names, namespace, message):
    with pytest.raises(TypeError, match=message):
        load_devices_from_happi(names, namespace=namespace)
