"""Where startup code of a profile is, and where a kernel listens."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from skybus.worker.environment.kernel_connection import listen_as_told
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.kernel_options import KernelOptions, KernelPorts
from skybus.worker.order import Order
from skybus.worker.settings import WorkerSettings


def order(**settings) -> Order:
    return WorkerSettings(instrument="sim", **settings).order(EnvironmentFolder(Path("/data/environments/e")))


def test_a_profile_names_a_startup_folder_with_and_without_a_kernel():
    folder = Path("/ipython/profile_beamline/startup")
    for given in ({"startup_profile": "beamline", "ipython_dir": Path("/ipython")}, {"startup_dir": folder}):
        assert order(**given).startup_dir == folder
        assert order(**given).kernel is None
        kernel = order(**given, use_ipython_kernel=True).kernel
        assert kernel is not None
        assert (kernel.profile, kernel.ipython_dir) == ("beamline", Path("/ipython"))


def test_a_script_is_run_instead_of_a_profile_but_in_a_kernel_after_it(monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", "/elsewhere")
    script = Path("/beamline/startup.py")
    assert order(startup_script=script, startup_profile="x").startup_dir is None
    in_kernel = order(startup_script=script, startup_profile="x", use_ipython_kernel=True)
    assert in_kernel.startup_script == script
    assert in_kernel.startup_dir == Path("/elsewhere/profile_x/startup")


@pytest.mark.parametrize(
    "given",
    [
        {"startup_dir": "/a", "startup_profile": "b"},
        {"startup_dir": "/a", "ipython_dir": "/b"},
        {"startup_script": "/a", "startup_module": "b", "use_ipython_kernel": True},
        {"ipython_kernel_ip": "somewhere"},
        {"ipython_shell_port": 0},
    ],
)
def test_contradictions_and_odd_addresses_are_refused(given):
    with pytest.raises(ValidationError):
        order(**given)


@pytest.mark.parametrize(
    ("ports", "text", "is_kept"),
    [
        ({}, '{"ip": "127.0.0.1", "shell_port": 5}', True),
        ({"shell_port": 5}, '{"ip": "127.0.0.1", "shell_port": 5}', True),
        ({"shell_port": 6}, '{"ip": "127.0.0.1", "shell_port": 5}', False),
        ({}, '{"ip": "10.0.0.1", "shell_port": 5}', False),
        ({}, "no JSON", False),
        ({}, "[]", False),
    ],
)
def test_a_connection_file_is_kept_as_long_as_it_says_what_is_wanted(tmp_path, ports, text, is_kept):
    file = tmp_path / "sky.json"
    file.write_text(text)
    app = SimpleNamespace(abs_connection_file=str(file))
    listen_as_told(app, KernelOptions(ports=KernelPorts(**ports), connection_file="sky.json", connection_dir=tmp_path))
    assert file.exists() == is_kept
    assert json.loads(file.read_text())["shell_port"] == 5 if is_kept else True
    assert (app.ip, app.connection_file) == ("127.0.0.1", "sky.json")
