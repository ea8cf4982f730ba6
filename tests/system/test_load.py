"""Hundreds of clients at once: nobody gets an error, the plan is not late, nothing grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.load import (
    ADD_P99,
    LATEST,
    PERIOD,
    SECONDS,
    SPARE_DESCRIPTORS,
    STATUS_P99,
    put_under_load,
)
from tests.system.paced import IS_SHARED


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
async def test_four_hundred_clients_work_while_a_plan_runs(data_dir: Path, capsys) -> None:
    """A minute of 400 clients, unless the variables SKYBUS_LOAD_SECONDS and SKYBUS_LOAD_CLIENTS say otherwise."""
    load = await put_under_load(data_dir)
    with capsys.disabled():
        print("", *load.lines(), sep="\n")
    assert load.errors == []
    assert (load.plan, load.lateness.points) == ("completed", int(SECONDS / PERIOD))
    assert load.growth.too_large() == []
    assert load.growth.more_descriptors(SPARE_DESCRIPTORS) == []
    if not IS_SHARED:
        assert load.lateness.worst <= LATEST
        assert load.percentile("status", 99) <= STATUS_P99
        assert load.percentile("add", 99) <= ADD_P99
