"""An environment that has died for want of memory is told from one that was killed."""

from pathlib import Path

import pytest

from skybus.worker.memory import OUT_OF_MEMORY, count_memory_kills
from skybus.worker.processes import say_exit


@pytest.mark.parametrize("group", ["/", "/beamline.slice/skybus.service"])
def test_the_kernels_kills_are_counted_by_our_control_group(tmp_path: Path, group: str) -> None:
    ours, groups = tmp_path / "cgroup", tmp_path / "groups"
    ours.write_text(f"4:memory:/old\n0::{group}\n")
    (groups / group[1:]).mkdir(parents=True)
    (groups / group[1:] / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n")

    assert count_memory_kills(ours, groups) == 2


def test_where_nothing_is_counted_nothing_is_said(tmp_path: Path) -> None:
    assert count_memory_kills(tmp_path / "cgroup", tmp_path) is None


def test_want_of_memory_is_named() -> None:
    assert "run out of memory" in say_exit(OUT_OF_MEMORY)
    assert "run out of memory" in say_exit(-9, memory_kill=True)
    assert say_exit(-11, memory_kill=True).endswith("signal 11 (SIGSEGV)")
    assert say_exit(-9).endswith("signal 9 (SIGKILL)")
