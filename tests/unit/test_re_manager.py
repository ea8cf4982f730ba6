"""`skybus re-manager`: where each setting is taken from, what is refused, and what the services are told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from skybus.bridge.settings import BridgeSettings
from skybus.bus.errors import SkybusError
from skybus.cli.manager.config_file import read_config
from skybus.cli.manager.option import Kind
from skybus.cli.manager.options import OPTIONS, PLACES
from skybus.cli.manager.parser import parse
from skybus.cli.manager.place import profile_dir
from skybus.cli.manager.services import redis_url, up_options
from skybus.cli.manager.settings import Settings, settle
from skybus.queue.settings import QueueSettings
from skybus.stack.startup import make_demo_profile
from skybus.stack.up import UpOptions
from skybus.worker.settings import WorkerSettings

PRIVATE = "Ue=.po0aQ9.}<Xvrny+f{V04XMc6JZ9ufKf5aeFy"


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """The startup directory of who asks for nothing."""
    folder = tmp_path / "simulated"
    folder.mkdir()
    return folder


def settled(simulated: Path, *words: str, **environ: str) -> Settings:
    flags, remarks = parse(list(words))
    return settle(flags, environ, simulated, remarks)


def config(tmp_path: Path, content: Mapping[str, Any] | str, name: str = "config.yml") -> str:
    file = tmp_path / name
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(dict(content)))
    return str(file)


def started(settings: Settings) -> UpOptions:
    return up_options(settings, Path("/data"), "sim")


VALUES: dict[Kind, tuple[Any, ...]] = {
    Kind.TEXT: ("/a", "/b", "/c"),
    Kind.NUMBER: (1, 2, 3),
    Kind.YES_NO: (True, False, True),
    Kind.WORDS: (["/a"], ["/b"], ["/c", "/d"]),
}
ODD_VALUES = {
    "zmq_encoding": ("msgpack", "json", "msgpack"),
    "zmq_private_key": (PRIVATE, "z$$maoa#ptb0+y0X(r8rz(wjTZ:EHGkndoIwrWi0", PRIVATE),
    "update_existing_plans_devices": ("NEVER", "ALWAYS", "NEVER"),
    "user_group_permissions_reload": ("NEVER", "ON_REQUEST", "NEVER"),
    "console_logging_level": ("QUIET", "SILENT", "QUIET"),
}
COMPUTED = ("startup_dir", "startup_module", "startup_script", "startup_profile", "ipython_dir", "keep_re")
"""Options that make sense together only; they have tests of their own."""
ALONE = [option for option in OPTIONS if option.name not in COMPUTED and not option.name.endswith("_path")]


@pytest.mark.parametrize("option", ALONE, ids=lambda option: option.name)
def test_flags_win_over_files_files_over_variables_and_these_over_defaults(option, tmp_path: Path, simulated: Path):
    in_flag, in_file, in_environment = ODD_VALUES.get(option.name, VALUES[option.kind])
    section, _, key = option.place.partition("/")
    assert settled(simulated)[option.name] == option.default
    environ = {}
    if option.variable:
        environ = {option.variable: ":".join(in_environment) if option.kind == Kind.WORDS else str(in_environment)}
        assert settled(simulated, **environ)[option.name] == in_environment
    path = config(tmp_path, {section: {key: in_file}})
    assert settled(simulated, QSERVER_CONFIG=path, **environ)[option.name] == in_file
    if option.flags:
        words = _words(option, in_flag)
        assert settled(simulated, *words, QSERVER_CONFIG=path, **environ)[option.name] == in_flag


def _words(option, value: Any) -> list[str]:
    if option.constants:
        return [flag for flag, constant in option.constants.items() if constant == value]
    if option.kind == Kind.WORDS:
        return [option.flags[0], *value]
    return [f"{option.flags[0]}={('OFF', 'ON')[value] if isinstance(value, bool) else value}"]


def test_each_setting_is_one_that_a_service_reads():
    """A name that is misspelt would have no effect and no message."""
    known = {name for cls in (BridgeSettings, QueueSettings, WorkerSettings) for name in cls.model_fields}
    known |= {"user_group_permissions_reload"}  # of auth
    unknown = {option.setting.removeprefix("SKYBUS_").lower() for option in OPTIONS if option.setting} - known
    assert unknown == set()


def test_deprecated_names_are_taken_and_said(simulated: Path):
    old = settled(simulated, "--zmq-addr", "tcp://*:1", "--zmq-publish-console-addr=tcp://*:2", "--keep-re")
    assert (old["zmq_control_addr"], old["zmq_info_addr"]) == ("tcp://*:1", "tcp://*:2")
    assert [remark.split()[0] for remark in old.remarks] == ["--zmq-addr", "--zmq-publish-console-addr", "keep_re"]
    both = settled(simulated, "--zmq-addr", "tcp://*:1", "--zmq-control-addr", "tcp://*:3")
    assert both["zmq_control_addr"] == "tcp://*:3"
    assert settled(simulated, QSERVER_ZMQ_PRIVATE_KEY=PRIVATE)["zmq_private_key"] == PRIVATE


def test_variables_that_say_nothing_are_not_looked_at(simulated: Path):
    settings = settled(simulated, QSERVER_USE_IPYTHON_KERNEL="perhaps", QSERVER_ZMQ_CONTROL_ADDRESS_FOR_SERVER="")
    assert settings["use_ipython_kernel"] is False
    assert settings["zmq_control_addr"] == "tcp://*:60615"
    assert "QSERVER_USE_IPYTHON_KERNEL" in settings.remarks[0]
    assert settled(simulated, QSERVER_PERMITTED_RE_METADATA_KEYS="")["permitted_re_metadata_keys"] == []


@pytest.mark.parametrize(
    "words",
    [
        ["--startup-dir=a", "--startup-script=b"],
        ["--startup-module=a", "--startup-script=b"],
        ["--verbose", "--quiet"],
        ["--update-existing-plans-devices=SOMETIMES"],
        ["--zmq-publish-console=maybe"],
        ["--kafka-topic=x"],
        ["--no-such-option"],
        ["a word"],
    ],
)
def test_a_command_line_that_cannot_be_meant_ends_with_2(words: list[str], capsys):
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert end.value.code == 2
    assert words[-1].partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "content", "named"),
    [
        (["--startup-dir=.", "--startup-profile=x"], {}, "startup_profile"),
        (["--startup-dir=.", "--ipython-dir=x"], {}, "ipython_dir"),
        ([], {"startup": {"startup_dir": ".", "startup_script": "x"}}, "startup_script"),
        ([], {"startup": {"startup_dir": ".", "startup_profile": "x"}}, "startup_profile"),
        (["--startup-dir=/nowhere"], {}, "/nowhere"),
        (["--startup-dir=.", "--use-ipython-kernel=ON"], {}, "profile_NAME/startup"),
        (["--startup-script=x.py"], {}, "--existing-plans-devices"),
        (["--startup-script=x.py", "--existing-plans-devices=."], {}, "--user-group-permissions"),
        (["--existing-plans-devices=/nowhere/x.yaml", "--startup-dir=."], {}, "/nowhere"),
        (["--zmq-encoding=xml"], {}, "json, msgpack"),
        (["--device-max-depth=-1"], {}, "--device-max-depth"),
        (["--ipython-hb-port=many"], {}, "--ipython-hb-port"),
        (["--config=/nowhere.yml"], {}, "/nowhere.yml"),
        ([], {"network": {"zmq_private_key": "short"}}, "40"),
        ([], {"network": {"redis_addres": "x"}}, "redis_addr"),
        ([], {"netwrok": {}}, "network"),
        ([], {"network": None}, "network"),
        ([], {"worker": {"ipython_hb_port": "60000"}}, "worker/ipython_hb_port"),
        ([], {"worker": {"permitted_re_metadata_keys": ["/a", "/a"]}}, "permitted_re_metadata_keys"),
        ([], {"startup": {"keep_re": "yes"}}, "startup/keep_re"),
        ([], {"operation": {"console_logging_level": "LOUD"}}, "VERBOSE"),
        ([], "", "sections"),
        ([], "network: [", "cannot read"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(words, content, named: str, tmp_path: Path, simulated: Path):
    given = {} if content == {} else {"QSERVER_CONFIG": config(tmp_path, content)}
    with pytest.raises(SkybusError, match=named):
        settled(simulated, *words, **given)


def test_a_key_that_is_none_is_not_shown(simulated: Path):
    with pytest.raises(SkybusError) as refused:
        settled(simulated, QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER="secret")
    assert "secret" not in str(refused.value)


def test_files_of_a_configuration_have_sections_of_their_own(tmp_path: Path, simulated: Path):
    folder = tmp_path / "config"
    folder.mkdir()
    config(folder, {"network": {"redis_name_prefix": "$BEAMLINE"}}, "a.yml")
    config(folder, {"startup": {"device_max_depth": 2}}, "b.yml")
    config(folder, "not: looked at", ".hidden.yml")
    config(folder, "not = 'looked at'", "code.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEAMLINE", "srx")
        assert read_config(folder) == {"redis_name_prefix": "srx", "device_max_depth": 2}
    config(folder, {"network": {}}, "c.yml")
    with pytest.raises(SkybusError, match=r"a\.yml.*c\.yml"):
        settled(simulated, "--config", str(folder))


def test_each_place_in_a_configuration_has_one_option():
    assert len(PLACES) == len([option for option in OPTIONS if option.place])


@pytest.mark.parametrize(
    ("words", "content", "told"),
    [
        ([], {}, {"SKYBUS_STARTUP_DIR": "{sim}/"}),
        (["--startup-profile=x"], {}, {"SKYBUS_STARTUP_DIR": "{ipython}/profile_x/startup"}),
        (["--ipython-dir={ipython}"], {}, {"SKYBUS_STARTUP_DIR": "{ipython}/profile_default/startup"}),
        (["--startup-dir={sim}"], {"startup_script": "x"}, {"SKYBUS_STARTUP_DIR": "{sim}"}),
        (["--startup-profile=x"], {"startup_dir": "{sim}"}, {"SKYBUS_STARTUP_DIR": "{ipython}/profile_x/startup"}),
        (["--startup-module=m"], {"startup_profile": "x"}, {"SKYBUS_STARTUP_MODULE": "m"}),
        (["--startup-script=/s.py"], {"ipython_dir": "{ipython}"}, {"SKYBUS_STARTUP_SCRIPT": "/s.py"}),
        (
            ["--use-ipython-kernel=ON", "--startup-dir={ipython}/profile_x/startup"],
            {},
            {"SKYBUS_STARTUP_PROFILE": "x", "SKYBUS_IPYTHON_DIR": "{ipython}"},
        ),
        (
            ["--use-ipython-kernel=ON", "--startup-script=/s.py"],
            {"startup_profile": "x"},
            {"SKYBUS_STARTUP_PROFILE": "x", "SKYBUS_STARTUP_SCRIPT": "/s.py"},
        ),
    ],
)
def test_the_worker_is_told_one_place_of_startup_code(words, content, told, tmp_path, simulated, monkeypatch):
    ipython = tmp_path / "ipython"
    for profile in ("x", "default"):
        (ipython / f"profile_{profile}" / "startup").mkdir(parents=True)
    monkeypatch.setenv("IPYTHONDIR", str(ipython))

    def filled(text: str) -> str:
        return text.format(sim=simulated, ipython=ipython)

    path = config(tmp_path, {"startup": {name: filled(value) for name, value in content.items()}})
    options = started(settled(simulated, *map(filled, words), QSERVER_CONFIG=path))
    told_worker = options.environments["worker"]
    places = {name: value for name, value in told_worker.items() if "_STARTUP_" in name or name == "SKYBUS_IPYTHON_DIR"}
    assert places == {name: filled(value) for name, value in told.items()}


def test_files_are_looked_for_beside_the_startup_code(simulated: Path):
    settings = settled(simulated)
    assert settings["existing_plans_and_devices_path"] == f"{simulated}/existing_plans_and_devices.yaml"
    options = started(settings)
    assert "auth" not in options.environments  # there are no permissions: the built-in ones hold
    (simulated / "user_group_permissions.yaml").touch()
    assert started(settings).environments["auth"] == {
        "SKYBUS_USER_GROUP_PERMISSIONS": f"{simulated}/user_group_permissions.yaml"
    }
    own = started(settled(simulated, "--user-group-permissions=/nowhere"))
    assert own.environments["auth"]["SKYBUS_USER_GROUP_PERMISSIONS"] == "/nowhere/user_group_permissions.yaml"


def test_keys_are_for_the_service_that_needs_them(simulated: Path):
    keys = {"QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER": PRIVATE, "QSERVER_EMERGENCY_LOCK_KEY_FOR_SERVER": "open"}
    options = started(settled(simulated, **keys))
    assert options.environments["bridge"] == {"SKYBUS_ZMQ_PRIVATE_KEY": PRIVATE}
    assert options.environments["queue"] == {"SKYBUS_EMERGENCY_LOCK_KEY": "open"}
    assert PRIVATE not in options.environment.values()


def test_settings_are_written_as_services_read_them(simulated: Path):
    words = ["--permitted-re-metadata-keys", "/a/b", "/c", "--ignore-invalid-plans=ON", "--silent"]
    environment = started(settled(simulated, *words)).environment
    assert environment["SKYBUS_PERMITTED_RE_METADATA_KEYS"] == "/a/b:/c"
    assert environment["SKYBUS_IGNORE_INVALID_PLANS"] == "true"
    assert environment["SKYBUS_LOG_LEVEL"] == "critical"
    assert environment["SKYBUS_ZMQ_PUBLISH"] == "false"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("localhost", "redis://localhost"),
        ("host:6380", "redis://host:6380"),
        ("host:6380/2", "redis://host:6380/2"),
        ("rediss://user:secret@host:6380/2", "rediss://user:secret@host:6380/2"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis+sentinel://:secret@a:1,b:2,c:3/skybus/0", "redis+sentinel://:secret@a:1,b:2,c:3/skybus/0"),
    ],
)
def test_redis_is_named_as_in_the_reference_or_by_a_url(address: str, url: str):
    assert redis_url(address) == url


@pytest.mark.parametrize("address", ["host:port", "http://host", "user:secret@host:port", "redis://:se/secret@host"])
def test_what_is_no_address_of_redis_is_refused_without_its_password(address: str):
    with pytest.raises(SkybusError, match="--redis-addr") as refused:
        redis_url(address)
    assert "secret" not in str(refused.value)


def test_the_demo_profile_replaces_what_was_there(simulated: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SKYBUS_SIM_PROFILE", str(simulated))
    (simulated / "00.py").write_text("new")
    startup = Path(profile_dir("collection_sim", str(tmp_path / "ipython")))
    startup.mkdir(parents=True)
    (startup / "old.py").touch()
    make_demo_profile(startup)
    assert [file.name for file in startup.parent.rglob("*.py")] == ["00.py"]
