"""Startup code that is not there is refused before anything starts, with its name and the option."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from skybus.bus.errors import InvalidError, NotFoundError
from skybus.cli.__main__ import make_app
from skybus.cli.manager.place import Place
from skybus.cli.startup_code import require_startup_code, require_startup_folder
from skybus.cli.up_options import SHARED, folder_of, shared_settings
from skybus.worker.settings import WorkerSettings


@pytest.fixture
def beamline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package whose code must not run while it is looked for, and an IPython profile."""
    package = tmp_path / "beamline"
    (tmp_path / "profile_x" / "startup").mkdir(parents=True)
    (package / "plans").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('hardware!')\n")
    (package / "startup.py").touch()
    (tmp_path / "dynamic").mkdir()
    (tmp_path / "dynamic" / "__init__.py").write_text("__path__ = __import__('pkgutil').extend_path(__path__, 'x')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("module", ["beamline", "beamline.startup", "beamline.plans", "dynamic.anything"])
def test_a_module_is_found_without_running_it(beamline: Path, module: str) -> None:
    require_startup_code(Place(startup_module=module), None, kernel=False)


@pytest.mark.parametrize("module", ["no_such", "beamline.no_such", "beamline.startup.deeper", "no_such.startup"])
def test_a_module_that_is_not_there_is_refused(beamline: Path, module: str) -> None:
    with pytest.raises(NotFoundError, match=rf"{module} is not there .*--startup-module"):
        require_startup_code(Place(startup_module=module), None, kernel=False)


def test_with_a_kernel_the_files_of_the_profile_may_say_where_modules_are(beamline: Path) -> None:
    require_startup_code(Place(startup_module="no_such"), None, kernel=True)


@pytest.mark.parametrize("script", ["/nowhere/start.py", "{beamline}", "a\0b"])
def test_a_script_that_is_no_file_is_refused(beamline: Path, script: str) -> None:
    with pytest.raises(NotFoundError, match="--startup-script"):
        require_startup_code(Place(startup_script=script.format(beamline=beamline)), None, kernel=False)


def test_a_python_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotFoundError, match="/nowhere/python"):
        require_startup_code(Place(), Path("/nowhere/python"), kernel=False)


@pytest.mark.parametrize(
    ("place", "kernel", "is_there"),
    [
        (Place(startup_dir="/nowhere"), False, False),
        (Place(startup_dir=__file__), False, False),
        (Place(startup_profile="y"), False, False),
        (Place(startup_profile="y"), True, False),
        (Place(startup_profile="y", startup_script=__file__), True, False),
        (Place(ipython_dir="/nowhere"), False, False),
        (Place(startup_profile="x"), False, True),
        (Place(startup_profile="x"), True, True),
        (Place(startup_profile="y", startup_script=__file__), False, True),  # the profile is not loaded
        (Place(), False, True),
        (Place(), True, True),
    ],
)
def test_a_startup_directory_that_is_named_must_be_there(
    beamline: Path, place: Place, kernel: bool, is_there: bool
) -> None:
    if is_there:
        require_startup_folder(place, kernel=kernel)
        return
    with pytest.raises(NotFoundError, match="the startup directory"):
        require_startup_folder(place, kernel=kernel)


@pytest.mark.parametrize(
    ("command", "words", "variables"),
    [
        ("up", ["--startup-dir=/nowhere"], {}),
        ("up", ["--startup-script=/nowhere"], {}),
        ("up", ["--startup-module=nowhere"], {}),
        ("up", ["--startup-profile=nowhere"], {}),
        ("up", ["--ipython-dir=/nowhere"], {}),
        ("up", [], {"SKYBUS_STARTUP_DIR": "/nowhere"}),
        ("up", [], {"SKYBUS_STARTUP_MODULE": "nowhere"}),
        ("re-manager", ["--startup-dir=/nowhere"], {}),
        ("re-manager", ["--startup-profile=nowhere"], {}),
        ("re-manager", ["--startup-profile=nowhere", "--use-ipython-kernel=ON"], {}),
        ("re-manager", ["--startup-script=/nowhere", "--existing-plans-devices=.", "--user-group-permissions=."], {}),
        ("re-manager", ["--startup-module=nowhere", "--existing-plans-devices=.", "--user-group-permissions=."], {}),
    ],
)
def test_the_command_ends_with_1_and_a_sentence(
    command: str, words: list[str], variables: dict[str, str], tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    ended = CliRunner().invoke(
        make_app(command), [command, *words], env={"SKYBUS_DATA_DIR": str(data_dir), **variables}
    )
    assert ended.exit_code == 1
    assert "nowhere" in ended.stderr
    assert "is not there" in ended.stderr
    assert not data_dir.exists()


VALUES = {
    "ignore_invalid_plans": ("OFF", False),
    "use_ipython_kernel": ("on", True),
    "ipython_kernel_ip": ("auto", "auto"),
    "ipython_connection_dir": ("/a", Path("/a")),
    **{f"ipython_{port}_port": ("60000", 60000) for port in ("shell", "iopub", "stdin", "hb", "control")},
}


@pytest.mark.parametrize("name", SHARED)
def test_up_has_the_options_of_re_manager_and_hands_them_to_the_worker(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, meant = VALUES.get(name, ("x", "x"))
    for variable, value in shared_settings({**dict.fromkeys(SHARED), name: given}).items():
        monkeypatch.setenv(variable, value)
    assert getattr(WorkerSettings(), name) == meant
    assert f"--{name.replace('_', '-')}" in CliRunner().invoke(make_app("up"), ["up", "--help"]).output


@pytest.mark.parametrize(("name", "value"), [("use_ipython_kernel", "perhaps"), ("ipython_hb_port", "many")])
def test_a_value_that_cannot_be_meant_is_refused_by_its_option(name: str, value: str) -> None:
    with pytest.raises(InvalidError, match=f"--{name.replace('_', '-')}.*{value}"):
        shared_settings({**dict.fromkeys(SHARED), name: value})


def test_permissions_are_looked_for_beside_the_startup_code_of_a_profile(beamline: Path) -> None:
    assert folder_of(Place(startup_profile="x")) == beamline / "profile_x" / "startup"
    assert folder_of(Place(startup_profile="x", startup_module="m")) is None
    assert folder_of(Place(startup_dir="/s", ipython_dir="/i")) == Path("/s")
