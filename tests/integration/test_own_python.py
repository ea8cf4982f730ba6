"""Environments run in the Python that a site chooses, and say what they are made of."""

from __future__ import annotations

import platform
import subprocess
import sysconfig
import threading
import venv
from pathlib import Path

import bluesky
import ophyd
import pytest

from skybus.bus.api.events import EnvironmentFacts
from skybus.worker.environment import origin
from skybus.worker.environment.origin import Origin, commit_of
from skybus.worker.interpreter import InterpreterError, require_fit
from skybus.worker.order import Order
from tests.integration.worker_fixtures import WorkerProcess, house_of, plan, until_answers
from tests.promises import PATIENCE
from tests.servers import NatsServer


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """The interpreter of a virtual environment in which nothing is installed."""
    venv.create(tmp_path / "venv", symlinks=True)
    return tmp_path / "venv" / "bin" / "python"


@pytest.fixture
def other_python(bare_python: Path) -> Path:
    """One in which everything is installed that is installed here."""
    (site_packages,) = bare_python.parent.parent.glob("lib/*/site-packages")
    (site_packages / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return bare_python


async def test_the_environment_runs_in_another_virtual_environment(nats: NatsServer, other_python: Path) -> None:
    worker = WorkerProcess(nats.data_dir, SKYBUS_ENVIRONMENT_PYTHON=str(other_python))
    worker.start()
    try:
        async with house_of(nats) as house:
            await until_answers(house)
            facts = EnvironmentFacts.model_validate((await house.opened())["facts"])
            assert (facts.executable, facts.python) == (str(other_python), platform.python_version())
            assert facts.versions["bluesky"] == bluesky.__version__
            assert facts.versions["ophyd"] == ophyd.__version__
            assert (await house.finish(plan("count", ["det"])))["exit_status"] == "completed"
    finally:
        worker.end()


async def test_what_an_interpreter_lacks_is_named(bare_python: Path) -> None:
    with pytest.raises(
        InterpreterError, match=r"lacks bluesky, .*ophyd, .*skybus\.worker.*pip install 'skybus\[worker\]"
    ):
        await require_fit(bare_python, kernel=False)


async def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match=r"nowhere/python cannot be started: No such file"):
        await require_fit(tmp_path / "nowhere" / "python", kernel=False)


def test_startup_code_in_a_git_checkout_has_a_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    startup = tmp_path / "00.py"
    startup.write_text("RE = None\n")
    for arguments in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c"]):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    commit = commit_of(tmp_path)

    assert commit
    assert len(commit) >= 7
    (tmp_path / "10.py").write_text("")
    assert commit_of(tmp_path) == f"{commit}-dirty"


def test_git_may_answer_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nprintf '\\377'\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert commit_of(tmp_path) == "\N{REPLACEMENT CHARACTER}-dirty"


def test_a_commit_that_is_not_found_in_time_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()
    monkeypatch.setattr(origin, "commit_of", lambda _: "late" if late.wait(PATIENCE) else "too late")
    monkeypatch.setattr(origin, "GIT_PATIENCE", 0.01)
    order = Order(environment_id="1", instrument="sim", data_dir=tmp_path, folder=tmp_path, startup_dir=tmp_path)

    facts = Origin(order).facts()
    late.set()

    assert facts.startup_commit is None
