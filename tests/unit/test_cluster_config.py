"""The files of an instrument on three machines, and the units that start its parts."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from skybus.auth.settings import AuthSettings
from skybus.bridge.settings import BridgeSettings
from skybus.bus.settings import Access, Credentials
from skybus.cli.__main__ import make_app
from skybus.queue.settings import QueueSettings
from skybus.stack.private_file import write_private
from skybus.worker.settings import WorkerSettings

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SETTINGS = (AuthSettings, BridgeSettings, QueueSettings, WorkerSettings)


def cluster_config(*words: str):
    return CliRunner().invoke(make_app("cluster-config"), ["cluster-config", *words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    outcome = cluster_config(str(tmp_path / "cluster"), "--hosts", "a, b, c", "--instrument", "srx")
    assert outcome.exit_code == 0, outcome.output
    return tmp_path / "cluster"


def test_each_machine_gets_its_files_and_nobody_else_reads_them(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "c"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    servers = [orjson.loads((folder / host / "nats/nats.conf").read_bytes()) for host in "abc"]
    assert [server["server_name"] for server in servers] == ["a", "b", "c"]
    assert servers[0]["accounts"] == servers[2]["accounts"]
    assert "replicaof" not in (folder / "a/valkey/valkey.conf").read_text()
    assert "replicaof a 6379" in (folder / "c/valkey/valkey.conf").read_text()


def test_settings_are_such_as_services_have(folder: Path):
    """Also those that are only proposed, in comments, and those in the units."""
    known = {f"SKYBUS_{name.upper()}" for settings in SETTINGS for name in settings.model_fields}
    texts = [path.read_text() for path in (*folder.glob("a/*.env"), *UNITS.glob("*.service"))]
    named = {name for text in texts for name in re.findall(r"\bSKYBUS_[A-Z_]+", text)}
    assert {"SKYBUS_REPLICAS", "SKYBUS_REDIS_URL", "SKYBUS_QUEUE_NAME", "SKYBUS_STARTUP_DIR"} <= named <= known


def test_what_is_there_is_not_written_again(folder: Path):
    before = (folder / "a/queue.env").read_text()
    outcome = cluster_config(str(folder), "--hosts", "a,b,c")
    assert outcome.exit_code == 1
    assert "not empty" in outcome.output
    assert (folder / "a/queue.env").read_text() == before


@pytest.mark.parametrize(("hosts", "why"), [("a,b", "not 2"), ("a,b,c,d", "not 4"), ("a,b,a", "one name")])
def test_no_cluster_is_made_that_could_not_agree(tmp_path: Path, hosts: str, why: str):
    outcome = cluster_config(str(tmp_path / "cluster"), "--hosts", hosts)
    assert outcome.exit_code == 1
    assert why in outcome.output


def test_several_servers_are_named_in_one_setting():
    access = Access(url="nats://a:1, nats://b:2,", credentials=Credentials(user="x"))
    assert access.servers == ["nats://a:1", "nats://b:2"]


def test_private_file_that_everybody_can_read_is_so_no_more(tmp_path: Path):
    file = tmp_path / "secrets"
    file.touch(mode=0o644)
    write_private(file, "text")
    assert (file.stat().st_mode & 0o777, file.read_text()) == (0o600, "text")
