"""Attacks of all kinds at once: the plan is not late, honest clients work on, and all memory comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.seed import SEED
from tests.system.hostile.siege import AT_ONCE, LATEST, SECONDS, Siege
from tests.system.hostile.table import ATTACKS
from tests.system.paced import IS_SHARED


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
async def test_a_plan_and_honest_clients_go_on_under_hostile_traffic(data_dir: Path, capsys) -> None:
    """Ten minutes of all attacks, unless SKYBUS_HOSTILE_SECONDS and SKYBUS_HOSTILE_AT_ONCE say otherwise."""
    outcome = await Siege(list(ATTACKS), SECONDS, AT_ONCE, SEED).hold(data_dir)
    with capsys.disabled():
        print("", *outcome.strikes, *outcome.lines(), sep="\n")
    assert outcome.faults() == []
    if not IS_SHARED:
        assert outcome.lateness.worst <= LATEST
